use super::*;

use crate::engine::rate_card::RateCard;
use crate::engine::shard::Engine;

/// One function's line, as it is written.
const LINE: &str = include_str!("line.json");

fn line_of(name: &str) -> String {
    LINE.replace("\"111122223333:eu-west-1:api\"", &format!("\"000000000001:eu-west-1:{name}\""))
        .trim()
        .into()
}

fn header_line(functions: usize) -> String {
    let time = |text: &str| text.parse().unwrap();
    let span = (time("2026-01-05T00:00:00Z"), time("2026-01-07T00:00:00Z"));
    let header = Header::new(&Settings::default(), "test".to_owned(), span, functions);
    serde_json::to_string(&header).unwrap()
}

/// A whole file about these functions.
fn whole(names: &[&str]) -> Vec<String> {
    let head = [header_line(names.len())];
    let end = [format!("{{\"end\":{}}}", names.len())];
    head.into_iter().chain(names.iter().map(|name| line_of(name))).chain(end).collect()
}

/// The functions that a file of these lines is read as, or why it is refused.
fn outcome(lines: &[String]) -> Result<Vec<Learned>, String> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("b.jsonl");
    std::fs::write(&path, lines.join("\n") + "\n").unwrap();
    let mut all = Vec::new();
    let read = read(&path, |learned| {
        all.push(learned);
        Ok(())
    });
    read.map(|_| all).map_err(|error| format!("{error:#}"))
}

#[test]
fn what_is_written_is_read_plain_and_packed() {
    let learned = outcome(&whole(&["a", "b", "c"])).unwrap();
    assert_eq!(learned.len(), 3);
    let mut bytes = Vec::new();
    let header: Header = serde_json::from_str(&header_line(3)).unwrap();
    write(&header, &learned, &mut bytes).unwrap();
    assert_eq!(
        String::from_utf8(bytes.clone()).unwrap(),
        whole(&["a", "b", "c"]).join("\n") + "\n"
    );
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("b.jsonl.zst");
    std::fs::write(&path, zstd::encode_all(&*bytes, 3).unwrap()).unwrap();
    let mut count = 0;
    let found = read(&path, |learned| {
        count += usize::from(learned.past == self::learned());
        Ok(())
    });
    assert_eq!((found.unwrap(), count), (header, 3));
}

fn learned() -> crate::engine::learned::Past {
    serde_json::from_str::<Learned>(LINE).unwrap().past
}

#[test]
fn the_functions_reach_the_shards_that_own_them_and_what_has_no_room_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("b.jsonl");
    let mut names: Vec<String> = (0..600).map(|index| format!("f{index}")).collect();
    names.sort();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    std::fs::write(&path, whole(&names).join("\n") + "\n").unwrap();
    let dropped = |functions_max: usize, count: usize| {
        let mut settings = Settings::default();
        settings.engine.functions_max = functions_max;
        let prices = crate::runtime::wiring::prices(&settings).unwrap();
        let mut shards = Shards::start(count, |owns| {
            let rates: RateCard = prices.card.clone();
            Engine::new(settings.engine.clone(), settings.detection.clone(), rates, owns)
        });
        load(&path, shards.as_mut().unwrap()).unwrap().dropped
    };
    assert_eq!((dropped(1_000_000, 1), dropped(1_000_000, 3)), (0, 0));
    let few = dropped(256, 1);
    assert!(few >= 600 - 256 && few == dropped(256, 3), "{few}");
}

#[test]
fn a_file_that_is_not_whole_or_not_of_this_kind_is_refused_with_its_line() {
    let whole = whole(&["a", "b", "c"]);
    let without = |index: usize| {
        let mut lines = whole.clone();
        lines.remove(index);
        lines
    };
    let with = |index: usize, line: &str| {
        let mut lines = whole.clone();
        lines[index] = line.to_owned();
        lines
    };
    let mut longer = whole.clone();
    longer.push(line_of("d"));
    let mut swapped = whole.clone();
    swapped.swap(1, 2);
    let half: String = whole[2].chars().take(200).collect();
    let form = whole[0].replace("\"bursar_baselines\":1", "\"bursar_baselines\":2");
    for (lines, expected) in [
        (vec![], "b.jsonl: is empty"),
        (without(0), "b.jsonl line 1: missing field `bursar_baselines`"),
        (without(2), "b.jsonl line 4: 2 functions came before it, 3 are its count"),
        (without(4), "b.jsonl: is cut off: 3 of 3 functions and no last line"),
        (whole[..2].to_vec(), "b.jsonl: is cut off: 1 of 3 functions"),
        (with(0, &form), "b.jsonl line 1: form 2, but this bursar reads form 1"),
        (with(0, "time,value"), "b.jsonl line 1: expected"),
        (with(2, &half), "b.jsonl line 3: EOF while parsing"),
        (with(2, &line_of("a")), "b.jsonl line 3: 000000000001:eu-west-1:a is out of order"),
        (swapped, "b.jsonl line 3: 000000000001:eu-west-1:a is out of order"),
        (with(4, "{\"end\":4}"), "b.jsonl line 5: 3 functions came before it, 4 are its count"),
        (longer, "b.jsonl line 6: comes after the end"),
        (with(2, &"x".repeat(LINE_BYTES_MAX + 1)), "b.jsonl line 3: "),
    ] {
        let told = outcome(&lines).unwrap_err();
        assert!(told.contains(expected), "{told} does not say {expected}");
        assert!(told.contains("write the file again with bursar learn"), "{told}");
    }
}

/// Every number of a line that is one of a learned state, replaced by `with`.
fn spoilt(value: &serde_json::Value, with: &str) -> Vec<String> {
    fn paths(value: &serde_json::Value, at: &str, all: &mut Vec<String>) {
        match value {
            serde_json::Value::Object(map) => {
                map.iter().for_each(|(key, value)| paths(value, &format!("{at}/{key}"), all));
            }
            serde_json::Value::Array(list) => {
                let last = list.len() - 1;
                paths(&list[last], &format!("{at}/{last}"), all);
            }
            serde_json::Value::Number(_) => all.push(at.to_owned()),
            _ => {}
        }
    }
    let mut all = Vec::new();
    paths(value, "", &mut all);
    let spoil = |path: &String| {
        let mut value = value.clone();
        *value.pointer_mut(path).unwrap() = serde_json::from_str("\"SPOILT\"").unwrap();
        value.to_string().replace("\"SPOILT\"", with)
    };
    all.iter().map(spoil).collect()
}

#[test]
fn no_number_may_be_what_it_can_never_have_been() {
    let value: serde_json::Value = serde_json::from_str(&line_of("a")).unwrap();
    let mut count = 0;
    for with in ["null", "NaN", "1152921504606846976", "-1152921504606846976", "1e400", "\"1\""] {
        for line in spoilt(&value, with) {
            let mut lines = whole(&["a"]);
            lines[1] = line;
            let told = outcome(&lines).expect_err(with);
            assert!(told.contains("b.jsonl line 2: "), "{told}");
            count += 1;
        }
    }
    assert!(count > 200, "{count}");
    for (from, to) in [
        ("\"fast\":", "\"fast\":-"),
        ("\"slow\":", "\"slow\":-"),
        ("\"mean_mb_ms\":", "\"mean_mb_ms\":-"),
        ("\"hours\":[", "\"hours\":[0,"),
        ("\"until\"", "\"from\""),
        ("\"fast\"", "\"added\":1,\"fast\""),
    ] {
        let mut lines = whole(&["a"]);
        assert!(lines[1].contains(from), "{from}");
        lines[1] = lines[1].replace(from, to);
        assert!(outcome(&lines).is_err(), "{to}");
    }
}
