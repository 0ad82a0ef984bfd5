//! HTML under construction, and the page around it.

use std::fmt::Write as _;

use crate::observe::unseen::is_unseen;

/// The longest text that is shown; names of functions have at most 140 characters.
const TEXT_CHARS_MAX: usize = 400;

/// HTML to which only literals of this program are added as they are. Everything else is escaped:
/// who may name a function or an address may not write on the page.
#[derive(Debug, Default)]
pub(super) struct Html(String);

impl Html {
    /// A literal.
    pub(super) fn raw(&mut self, literal: &'static str) -> &mut Self {
        self.0.push_str(literal);
        self
    }

    /// Any text. Beside what the syntax needs, `=`, `/` and `:` are escaped, so that not even an
    /// escaped name looks like a link to whoever searches the file for one; characters that are not
    /// seen or turn the direction of what follows are replaced.
    pub(super) fn text(&mut self, text: &str) -> &mut Self {
        for (place, character) in text.chars().enumerate() {
            match character {
                _ if place == TEXT_CHARS_MAX => {
                    self.0.push('…');
                    break;
                }
                '&' => self.0.push_str("&amp;"),
                '<' => self.0.push_str("&lt;"),
                '>' => self.0.push_str("&gt;"),
                '"' => self.0.push_str("&quot;"),
                '\'' => self.0.push_str("&#39;"),
                '=' => self.0.push_str("&#61;"),
                '/' => self.0.push_str("&#47;"),
                ':' => self.0.push_str("&#58;"),
                _ if is_unseen(character) => self.0.push('\u{fffd}'),
                other => self.0.push(other),
            }
        }
        self
    }

    /// A coordinate, to a tenth of a pixel.
    pub(super) fn at(&mut self, place: f64) -> &mut Self {
        let place = if place.is_finite() { place } else { 0.0 };
        let written = write!(self.0, "{}", (place * 10.0).round() / 10.0);
        debug_assert!(written.is_ok(), "writing to a string does not fail");
        self
    }

    /// What was built elsewhere.
    pub(super) fn add(&mut self, other: &Html) -> &mut Self {
        self.0.push_str(&other.0);
        self
    }

    /// A table; the first column holds names, the others numbers.
    pub(super) fn table<'a>(
        &mut self,
        heading: impl Iterator<Item = &'a str>,
        rows: &[Vec<String>],
    ) -> &mut Self {
        self.raw("<div class=\"scroll\"><table><thead><tr>");
        heading.for_each(|cell| {
            self.raw("<th>").text(cell).raw("</th>");
        });
        self.raw("</tr></thead><tbody>\n");
        for row in rows {
            self.raw("<tr>");
            for cell in row {
                self.raw("<td>").text(cell).raw("</td>");
            }
            self.raw("</tr>\n");
        }
        self.raw("</tbody></table></div>\n")
    }

    /// A picture with its heading.
    pub(super) fn figure(&mut self, title: &str, picture: &Html) -> &mut Self {
        self.raw("<figure><figcaption>").text(title).raw("</figcaption><div class=\"scroll\">");
        self.add(picture).raw("</div></figure>\n")
    }

    /// Names beside their colours.
    pub(super) fn legend<'a>(
        &mut self,
        entries: impl Iterator<Item = (usize, &'a str)>,
    ) -> &mut Self {
        self.raw("<ul class=\"legend\">");
        for (colour, name) in entries {
            self.raw("<li><i class=\"").raw(self::colour(colour)).raw("\"></i>");
            self.text(name).raw("</li>");
        }
        self.raw("</ul>\n")
    }
}

/// Names of the classes that give a colour.
pub(super) fn colour(index: usize) -> &'static str {
    const NAMES: [&str; 8] = ["c0", "c1", "c2", "c3", "c4", "c5", "c6", "c7"];
    NAMES[index % NAMES.len()]
}

/// The whole page. The policy in its head forbids what the page does not contain anyway: scripts,
/// and anything from elsewhere.
pub(super) fn page(title: &str, body: &Html) -> String {
    let mut html = Html::default();
    html.raw("<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n");
    html.raw("<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; ");
    html.raw("style-src 'unsafe-inline'\">\n");
    html.raw("<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n");
    html.raw("<meta name=\"color-scheme\" content=\"light dark\">\n<title>");
    html.text(title).raw("</title>\n<style>\n").raw(include_str!("style.css"));
    html.raw("</style>\n</head>\n<body>\n<h1>").text(title).raw("</h1>\n");
    html.add(body).raw("</body>\n</html>\n");
    html.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_text_becomes_part_of_the_page() {
        let mut html = Html::default();
        html.text("<script src=\"https://x/\">'&\u{202e}\u{0}\n");
        let expected = "&lt;script src&#61;&quot;https&#58;&#47;&#47;x&#47;&quot;&gt;&#39;&amp;\
                        \u{fffd}\u{fffd}\u{fffd}";
        assert_eq!(html.0, expected);
    }

    #[test]
    fn long_texts_are_cut() {
        let mut html = Html::default();
        html.text(&"ä".repeat(10_000));
        assert_eq!(html.0.chars().count(), TEXT_CHARS_MAX + 1);
    }
}
