//! Names are chosen by others: what in them would act on a terminal or a page and not be seen.

/// Control characters, and the marks that turn the direction of writing (UAX #9, section 2).
pub fn is_unseen(character: char) -> bool {
    character.is_control()
        || matches!(character, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}')
        || matches!(character, '\u{2066}'..='\u{2069}' | '\u{feff}')
}

/// The text with a sign in the place of every such character.
pub fn seen(text: &str) -> String {
    text.chars().map(|c| if is_unseen(c) { char::REPLACEMENT_CHARACTER } else { c }).collect()
}
