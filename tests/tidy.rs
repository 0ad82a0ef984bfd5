//! The promises of the architecture, checked by reading the sources.
//!
//! A rule looks at one file, with its comments and strings blanked out, and says on which lines it
//! is broken. Each rule comes with a snippet that breaks it and one that does not, so a rule that
//! has stopped looking is found as well. Tests inside `src` may use what they like; their length
//! counts all the same.
#![expect(
    clippy::string_slice,
    clippy::unwrap_used,
    reason = "a test may panic, and it cuts where it has found something"
)]

use std::fs;
use std::path::{Path, PathBuf};

/// Folders and files whose code is a plain function of its arguments.
const PURE: [&str; 8] = [
    "src/decode/",
    "src/engine/",
    "src/cost/",
    "src/control/",
    "src/score/",
    "src/keep.rs",
    "src/units.rs",
    "src/record.rs",
];
/// What no pure code names: runtimes, clocks, files, sockets, threads, locks, globals, randomness,
/// logs. Addresses come from `core::net`.
const IMPURE: [&str; 30] = [
    "std::{",
    "std::time",
    "std::fs",
    "std::net",
    "std::thread",
    "std::sync",
    "std::env",
    "std::process",
    "std::io::stdin",
    "std::io::stdout",
    "std::io::stderr",
    "std::cell",
    "thread_local",
    "static mut",
    "async",
    "await",
    "tokio",
    "crossbeam_channel",
    "dashmap",
    "prometheus",
    "rdkafka",
    "rand",
    "rand_chacha",
    "rand_distr",
    "RandomState",
    "tracing",
    "print!",
    "println!",
    "eprint!",
    "eprintln!",
];
/// Which modules of the crate the pure ones and the simulation may know. The simulation plays the
/// platform: what it knew of the detector, it could be made to please. Prices are no secret.
const KNOWS: [(&str, &[&str]); 9] = [
    ("src/keep.rs", &["keep"]),
    ("src/units.rs", &["keep"]),
    ("src/record.rs", &["keep", "units"]),
    ("src/decode/", &["decode", "record", "units"]),
    ("src/cost/", &["cost", "keep", "record", "units"]),
    ("src/engine/", &["engine", "cost", "keep", "record", "units"]),
    ("src/control/", &["control", "engine", "cost", "keep", "record", "units"]),
    ("src/simulation/", &["simulation", "cost", "record", "units"]),
    ("src/score/", &["score", "units"]),
];
/// The one file that reads a clock, and what reading one looks like.
const CLOCK: &str = "src/runtime/clock.rs";
const CLOCKS: [&str; 4] = ["Instant", "SystemTime", "Timestamp::now", "Zoned::now"];
/// Where a clock is named all the same, and why that is right.
const CLOCK_EXCEPTIONS: [(&str, &str); 1] =
    [("src/observe/connection.rs", "a socket's deadline is reckoned in the runtime's own time")];
/// What is not finished.
const UNFINISHED: [&str; 4] = ["todo!", "unimplemented!", "dbg!", "#[ignore"];
/// The same, in words; in comments too.
const UNFINISHED_WORDS: [&str; 3] = [concat!("TO", "DO"), concat!("FIX", "ME"), concat!("XX", "X")];

const FILE_LINES_MAX: usize = 600;
const LINE_COLUMNS_MAX: usize = 100;
const FUNCTION_LINES_MAX: usize = 80;

/// One source file.
struct Source {
    path: String,
    text: String,
    /// The text with the inside of comments, strings and characters blanked out.
    code: String,
    /// The code without its tests.
    product: String,
}

/// Where a rule is broken: a line number from 1, and what is wrong there.
type Finding = (usize, String);

struct Rule {
    name: &'static str,
    find: fn(&Source) -> Vec<Finding>,
    /// Path and text that break the rule. `«N»` stands for N lines.
    broken: &'static [(&'static str, &'static str)],
    /// Path and text that look similar and do not.
    kept: &'static [(&'static str, &'static str)],
}

const RULES: [Rule; 7] = [
    Rule {
        name: "pure code has no clock, input, output, thread, lock, global, log or randomness",
        find: impurity,
        broken: &[
            ("src/engine/shard.rs", "use tokio::sync::mpsc;"),
            ("src/units.rs", "use std::time::Instant;"),
            ("src/cost/month.rs", "use std::{fmt, time::SystemTime};"),
            ("src/decode/mod.rs", "fn f() { let x = std::fs::read(\"x\"); }"),
            ("src/control/cap.rs", "fn f() { tracing::info!(\"x\"); }"),
            ("src/engine/a.rs", "fn f() { println!(); }"),
            ("src/engine/b.rs", "fn f() -> u8 { rand::random() }"),
            ("src/record.rs", "use std::net::IpAddr;"),
            ("src/engine/c.rs", "static X: std::sync::OnceLock<u8> = std::sync::OnceLock::new();"),
            ("src/engine/d.rs", "#[cfg(test)]\nmod t { fn g() {} }\nuse tracing::info;"),
            ("src/engine/e.rs", "#[cfg(test)]\nmod tests;\nuse tracing::info;"),
            ("src/engine/f.rs", "fn f<'a>(x: &'a str) { tracing::info!(\"'\"); }"),
            ("src/engine/g.rs", "const X: &str = r#\"\"\"#; use tokio::task;"),
            ("src/engine/h.rs", "/* /* */ */ use tokio::task;"),
        ],
        kept: &[
            ("src/runtime/shards.rs", "use std::thread;"),
            ("src/engine/shard.rs", "// std::thread is for the runtime\nuse core::net::IpAddr;"),
            ("src/engine/a.rs", "fn f() { g(\"tokio \\\" rand\", 'r', r#\"std::fs \" rand\"#); }"),
            ("src/engine/b.rs", "#[cfg(test)]\nmod tests {\n use std::fs;\n fn f() {}\n}"),
            ("src/engine/c.rs", "struct Brand { operand: u8, sprint: u8 }"),
            ("src/engine/d.rs", "/* use tokio::task; /* */ rand */ fn f() {}"),
            ("src/engine/tests.rs", "use std::fs;"),
            ("src/cost/tests/bills.rs", "use std::fs;"),
        ],
    },
    Rule {
        name: "modules know only those below them",
        find: acquaintance,
        broken: &[
            ("src/simulation/platform.rs", "use crate::engine::shard::Engine;"),
            ("src/simulation/wire.rs", "use crate::{decode, units};"),
            ("src/simulation/load.rs", "fn f() { super::super::control::cap(); }"),
            ("src/simulation/mod.rs", "use super::decode;"),
            ("src/decode/mod.rs", "use crate::engine;"),
            ("src/engine/shard.rs", "use crate::control::ladder::Control;"),
            ("src/units.rs", "use crate::record::Record;"),
            ("src/cost/budget.rs", "use bursar::engine;"),
        ],
        kept: &[
            ("src/simulation/platform.rs", "/// As `crate::engine` will.\nuse crate::units;"),
            ("src/engine/shard.rs", "use crate::cost::Usage;\nuse super::batch::Batch;"),
            ("src/engine/detect/rate.rs", "use super::super::settings::EngineSettings;"),
            ("src/simulation/platform/tests.rs", "use crate::decode::Decoder;"),
            ("src/runtime/wiring.rs", "use crate::control::ladder::Control;"),
        ],
    },
    Rule {
        name: "only src/runtime/clock.rs reads a clock",
        find: clocks,
        broken: &[
            ("src/source/merge.rs", "fn f() { std::time::Instant::now(); }"),
            ("src/observe/api.rs", "use std::time::{Duration, SystemTime};"),
            ("src/cli/run.rs", "fn f() { jiff::Timestamp::now(); }"),
            ("src/simulation/load.rs", "fn f() { std::time::Instant::now(); }"),
        ],
        kept: &[
            (CLOCK, "fn f() { std::time::Instant::now(); }"),
            ("src/source/merge.rs", "use std::time::Duration; // not an Instant"),
        ],
    },
    Rule {
        name: "nothing is left unfinished",
        find: unfinished,
        broken: &[
            ("src/main.rs", "fn f() { todo!() }"),
            ("src/main.rs", "fn f() { unimplemented!(\"later\") }"),
            ("src/main.rs", "fn f() { dbg!(1); }"),
            ("src/main.rs", "#[test]\n#[ignore = \"slow\"]\nfn f() {}"),
            ("src/main.rs", concat!("// FIX", "ME: later")),
            ("src/main.rs", concat!("/* TO", "DO */")),
        ],
        kept: &[("src/main.rs", "fn f() { let ignored = \"todo!()\"; } // a to-do list")],
    },
    Rule {
        name: "a file has at most 600 lines",
        find: long_files,
        broken: &[("src/main.rs", "«601»"), ("src/cost/tests/bills.rs", "«601»")],
        kept: &[("src/main.rs", "«600»")],
    },
    Rule {
        name: "a line has at most 100 columns",
        find: long_lines,
        broken: &[(
            "src/main.rs",
            "// one line of just over a hundred columns, written in two here so that this file \
             keeps the rule: xxx",
        )],
        kept: &[(
            "src/main.rs",
            "// one line of just one hundred columns, which are not bytes: äöü xxxxxxxxxxxxxxxxxx \
             xxxxxxxxxxxxxx",
        )],
    },
    Rule {
        name: "a function has at most 80 lines",
        find: long_functions,
        broken: &[
            ("src/main.rs", "fn f() {\n«79»}"),
            ("src/main.rs", "trait T { fn g(); }\npub fn f(x: [u8; 2]) -> [u8; 2] {\n«79»}"),
            ("src/main.rs", "fn f() {\nlet x = '}';\n// }\n«77»}"),
        ],
        kept: &[("src/main.rs", "fn f() {\n«78»}"), ("src/main.rs", "trait T {\nfn f();\n«90»}")],
    },
];

#[test]
fn the_sources_keep_every_rule() {
    let sources = sources();
    assert!(sources.len() > 50, "the sources have moved");
    let mut broken = Vec::new();
    for rule in &RULES {
        for source in &sources {
            for (line, what) in (rule.find)(source) {
                broken.push(format!("{}:{line}: {what} ({})", source.path, rule.name));
            }
        }
    }
    assert!(broken.is_empty(), "\n{}", broken.join("\n"));
}

#[test]
fn every_rule_finds_what_breaks_it_and_nothing_else() {
    for rule in &RULES {
        assert!(!rule.broken.is_empty() && !rule.kept.is_empty(), "{}", rule.name);
        let found = |&(path, text): &(&str, &str)| (rule.find)(&Source::new(path, &filled(text)));
        for snippet in rule.broken {
            assert!(!found(snippet).is_empty(), "{} is kept by {snippet:?}", rule.name);
        }
        for snippet in rule.kept {
            assert_eq!(found(snippet), [], "{} is broken by {snippet:?}", rule.name);
        }
    }
}

#[test]
fn every_folder_that_a_rule_names_is_there() {
    let sources = sources();
    let excepted = CLOCK_EXCEPTIONS.iter().map(|(path, _)| path);
    let named = KNOWS.iter().map(|(path, _)| path).chain(&PURE).chain([&CLOCK]).chain(excepted);
    for path in named {
        assert!(sources.iter().any(|source| source.path.starts_with(path)), "{path}");
    }
}

fn impurity(source: &Source) -> Vec<Finding> {
    if !PURE.iter().any(|pure| source.path.starts_with(pure)) {
        return Vec::new();
    }
    named(&source.product, &IMPURE)
}

fn acquaintance(source: &Source) -> Vec<Finding> {
    let known = KNOWS.iter().find(|(path, _)| source.path.starts_with(path));
    let Some((_, known)) = known else {
        return Vec::new();
    };
    let code = &source.product;
    let from_root = words(code, "crate::").chain(words(code, "bursar::"));
    let from_root = from_root.map(|at| code[at..].split_once("::").unwrap_or_default().1);
    let up = words(code, "super::").filter_map(|at| above(&code[at..], source.depth()));
    let named = from_root.chain(up).filter(|rest| !known.contains(&identifier(rest)));
    named
        .map(|rest| {
            let what = rest.lines().next().unwrap_or_default();
            (line(code, code.len() - rest.len()), format!("crate::{what}"))
        })
        .collect()
}

/// What a path of `super`s names at the crate's root, if it leads there from `depth` below.
fn above(mut path: &str, depth: usize) -> Option<&str> {
    for _ in 0..depth {
        path = path.strip_prefix("super::")?;
    }
    Some(path)
}

fn clocks(source: &Source) -> Vec<Finding> {
    let excepted = CLOCK_EXCEPTIONS.iter().any(|(path, _)| source.path == *path);
    if !source.path.starts_with("src/") || source.path == CLOCK || excepted {
        return Vec::new();
    }
    named(&source.product, &CLOCKS)
}

fn unfinished(source: &Source) -> Vec<Finding> {
    let mut found = named(&source.code, &UNFINISHED);
    found.extend(named(&source.text, &UNFINISHED_WORDS));
    found
}

fn long_files(source: &Source) -> Vec<Finding> {
    let lines = source.text.lines().count();
    let long = lines > FILE_LINES_MAX;
    long.then(|| (lines, format!("{lines} lines"))).into_iter().collect()
}

fn long_lines(source: &Source) -> Vec<Finding> {
    let lines = source.text.lines().enumerate();
    lines
        .map(|(index, line)| (index + 1, line.chars().count()))
        .filter(|&(_, columns)| columns > LINE_COLUMNS_MAX)
        .map(|(number, columns)| (number, format!("{columns} columns")))
        .collect()
}

fn long_functions(source: &Source) -> Vec<Finding> {
    let code = &source.code;
    let lengths = words(code, "fn ").filter_map(|at| {
        let body = body(&code[at..])?;
        let lines = code[at..at + body].lines().count();
        let name = identifier(&code[at + "fn ".len()..]);
        (lines > FUNCTION_LINES_MAX).then(|| (line(code, at), format!("{name}: {lines} lines")))
    });
    lengths.collect()
}

/// Where the item at the start of `code` ends that has a body in braces; `None` where it has none.
fn body(code: &str) -> Option<usize> {
    let (mut round, mut braces) = (0, 0);
    for (at, character) in code.char_indices() {
        match character {
            '(' | '[' => round += 1,
            ')' | ']' => round -= 1,
            ';' if round == 0 && braces == 0 => return None,
            '{' => braces += 1,
            '}' => {
                braces -= 1;
                if braces == 0 {
                    return Some(at + 1);
                }
            }
            _ => {}
        }
    }
    None
}

impl Source {
    fn new(path: &str, text: &str) -> Self {
        let code = blanked(text);
        let is_test = path.contains("/tests/") || path.ends_with("/tests.rs");
        let product = if is_test { String::new() } else { without_tests(&code) };
        Self { path: path.to_owned(), text: text.to_owned(), code, product }
    }

    /// How many modules the file is below the crate's root.
    fn depth(&self) -> usize {
        let below = self.path.split('/').skip(1);
        below.filter(|part| *part != "mod.rs").count()
    }
}

fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut folders: Vec<PathBuf> = ["src", "tests", "benches"].map(|name| root.join(name)).into();
    let mut sources = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let name = path.strip_prefix(root).unwrap().to_str().unwrap().replace('\\', "/");
                sources.push(Source::new(&name, &fs::read_to_string(&path).unwrap()));
            }
        }
    }
    sources
}

/// Each of `list` wherever it stands by itself.
fn named(text: &str, list: &[&str]) -> Vec<Finding> {
    let found = |word: &&str| {
        let places = words(text, word).map(|at| (line(text, at), (*word).to_owned()));
        places.collect::<Vec<_>>()
    };
    list.iter().flat_map(found).collect()
}

/// Where `word` stands by itself.
fn words<'a>(code: &'a str, word: &'a str) -> impl Iterator<Item = usize> + 'a {
    let part = |character: char| character.is_alphanumeric() || character == '_';
    code.match_indices(word).map(|(at, _)| at).filter(move |&at| {
        let open = !word.starts_with(part) || !code[..at].ends_with(part);
        open && (!word.ends_with(part) || !code[at + word.len()..].starts_with(part))
    })
}

fn identifier(code: &str) -> &str {
    let end = code.find(|character: char| !character.is_alphanumeric() && character != '_');
    &code[..end.unwrap_or(code.len())]
}

fn line(code: &str, at: usize) -> usize {
    code[..at].matches('\n').count() + 1
}

fn filled(snippet: &str) -> String {
    let Some((before, (count, after))) =
        snippet.split_once('«').and_then(|(before, rest)| Some((before, rest.split_once('»')?)))
    else {
        return snippet.to_owned();
    };
    let lines = "x();\n".repeat(count.parse().unwrap());
    format!("{before}{lines}{after}")
}

/// The code with everything under `#[cfg(test)]` blanked out.
fn without_tests(code: &str) -> String {
    const MARK: &str = "#[cfg(test)]";
    let mut product = String::new();
    let mut rest = code;
    while let Some((before, tests)) = rest.split_once(MARK) {
        product.push_str(before);
        let end = body(tests).or_else(|| tests.find(';').map(|at| at + 1));
        let (tests, after) = tests.split_at(end.unwrap_or(tests.len()));
        product.extend(tests.chars().filter(|&character| character == '\n'));
        rest = after;
    }
    product + rest
}

/// The text with the inside of comments, strings and characters as blanks; lines stay where they
/// are.
fn blanked(text: &str) -> String {
    let mut code = String::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let fresh = !code.ends_with(|last: char| last.is_alphanumeric() || last == '_');
        let length = match first {
            '/' if rest.starts_with("//") => rest.find('\n').unwrap_or(rest.len()),
            '/' if rest.starts_with("/*") => block_comment(rest),
            '"' => string(rest),
            'r' | 'b' | 'c' if fresh => raw_string(rest).unwrap_or(0),
            '\'' => character(rest).unwrap_or(0),
            _ => 0,
        };
        if length == 0 {
            code.push(first);
            rest = &rest[first.len_utf8()..];
        } else {
            let inside = rest[..length].chars();
            code.extend(inside.map(|inside| if inside == '\n' { '\n' } else { ' ' }));
            rest = &rest[length..];
        }
    }
    code
}

fn block_comment(text: &str) -> usize {
    let mut depth = 0_usize;
    let mut at = 0;
    while let Some(found) = text[at..].find(['/', '*']) {
        at += found;
        match text.get(at..at + 2) {
            Some("/*") => depth += 1,
            Some("*/") if depth == 1 => return at + 2,
            Some("*/") => depth -= 1,
            _ => {
                at += 1;
                continue;
            }
        }
        at += 2;
    }
    text.len()
}

fn string(text: &str) -> usize {
    let mut escaped = false;
    for (at, character) in text.char_indices().skip(1) {
        match character {
            '"' if !escaped => return at + 1,
            '\\' => escaped = !escaped,
            _ => escaped = false,
        }
    }
    text.len()
}

fn raw_string(text: &str) -> Option<usize> {
    let start = text.trim_start_matches(['b', 'c']).strip_prefix('r')?;
    let inside = start.trim_start_matches('#');
    let end = format!("\"{}", "#".repeat(start.len() - inside.len()));
    let inside = inside.strip_prefix('"')?;
    let before = text.len() - inside.len();
    Some(inside.find(&end).map_or(text.len(), |at| before + at + end.len()))
}

/// A character, which a lifetime is not.
fn character(text: &str) -> Option<usize> {
    let inside = &text[1..];
    let first = inside.chars().next()?;
    let after = if first == '\\' { 2 } else { first.len_utf8() };
    let end = after + inside.get(after..)?.find('\'')?;
    // An escape has up to ten characters; anything else has one.
    (end == after || (first == '\\' && end <= 10)).then_some(end + 2)
}
