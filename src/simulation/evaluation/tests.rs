//! Files made by hand, with scores computed by hand.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::interval::Interval;
use super::*;
use crate::units::NanoUsd;

/// Two attacks with records and one without. Times are minutes and seconds behind midnight.
fn truth() -> Value {
    let attack = |kind: &str, functions: &[&str], span: Option<[&str; 2]>, sources: &[&str]| {
        let functions: Vec<_> = functions.iter().map(|name| format!("1:eu:{name}")).collect();
        let span = span.map(|span| span.map(at));
        json!({
            "kind": kind, "functions": functions, "sources": sources, "sources_cut": false,
            "first_record": span.clone().map(|[first, _]| first),
            "last_record": span.map(|[_, last]| last),
            "requests": 1, "something": "new",
        })
    };
    let sources = ["10.0.0.1", "10.0.0.2", "::ffff:10.0.0.3"];
    json!({
        "v": 1, "seed": 1, "start": at("00:00"), "end": at("59:59"), "records": 1_000,
        "attacks": [
            attack("flood", &["f"], Some(["10:30", "12:30"]), &sources),
            attack("ramp", &["g", "h"], Some(["40:00", "41:00"]), &[]),
            attack("flood", &["k"], None, &[]),
        ],
    })
}

fn at(clock: &str) -> String {
    format!("2026-01-05T00:{clock}.000Z")
}

fn run_line() -> Value {
    json!({"v": 1, "kind": "run", "promise": {"pages_per_day": 0.1, "estate_functions": 10_000}})
}

fn summary() -> Value {
    json!({
        "kind": "summary",
        "records": {"counted": 900, "late": 3, "duplicate": 0, "rejected": 0, "unrouted": 100},
        "function_days": 2.5, "warmup_function_days": 0.5, "spend_nano_usd": 181_001,
        "first_event": at("00:00"), "last_event": at("59:59"),
    })
}

/// `times` are onset, evidence and decision.
fn alarm(id: &str, words: [&str; 3], times: [&str; 3], channel: &str, named: &[&str]) -> Value {
    let [state, severity, function] = words;
    let [onset, evidence_at, decided_at] = times.map(at);
    let source = |name: &&str| json!({"dimension": "address", "source": name, "share": 0.1});
    let mut sources: Vec<Value> = named.iter().map(source).collect();
    sources.push(json!({"dimension": "principal", "source": "key-1"}));
    json!({
        "kind": "alarm", "id": id, "state": state, "severity": severity, "class": "crowd",
        "scope": "function", "account": "1", "region": "eu", "function": function,
        "onset": onset, "evidence_at": evidence_at, "decided_at": decided_at,
        "channels": {
            "cost": {"evidence_log10": 10.0, "threshold_log10": 10.0, "expected": 5, "observed": 5},
            channel: {"evidence_log10": null, "threshold_log10": 10, "expected": 2, "observed": 8},
        },
        "attribution": {"diffuse": false, "distinct": 3, "sources": sources},
    })
}

fn action(words: [&str; 4], clock: &str, share: f64) -> Value {
    let [verb, outcome, target, alarm_id] = words;
    json!({
        "kind": "action", "id": "a", "alarm_id": alarm_id, "verb": verb, "outcome": outcome,
        "target": target, "decided_at": at(clock), "legit_refused_share": share,
    })
}

/// Everything about f: the flood is told, then paged, then over; a second page has its onset at the
/// end of the tolerance and a third one a second later.
fn lines_of_f() -> Vec<Value> {
    let id = "f1";
    vec![
        alarm(id, ["opened", "notice", "f"], ["10:30", "10:31", "10:31"], "rate_slow", &[]),
        alarm(
            id,
            ["updated", "page", "f"],
            ["10:30", "10:32", "10:33"],
            "rate_fast",
            &["10.0.0.9", "10.0.0.1"],
        ),
        action(["restrict", "planned", "1:eu:f", id], "10:34", 0.02),
        action(["restrict", "failed", "1:eu:f", id], "10:35", 0.9),
        action(["tighten", "planned", "wacl/7", id], "10:36", 0.01),
        alarm(id, ["closed", "page", "f"], ["10:30", "10:32", "12:40"], "x", &["10.0.0.2"]),
        action(["relax", "applied", "1:eu:f", id], "20:00", 0.5),
        alarm("f2", ["opened", "page", "f"], ["13:30", "13:31", "13:32"], "rate_fast", &[]),
        alarm("f3", ["opened", "page", "f"], ["13:31", "13:32", "13:33"], "yoyo", &["10.0.0.1"]),
    ]
}

/// Nobody attacks q.
fn lines_of_q() -> Vec<Value> {
    vec![
        alarm("q1", ["opened", "page", "q"], ["10:30", "10:31", "10:32"], "yoyo", &["10.0.0.2"]),
        action(["tighten", "applied", "1:eu:q", "q1"], "10:40", 0.3),
        alarm("q2", ["opened", "notice", "q"], ["50:00", "50:01", "50:02"], "cost", &[]),
    ]
}

/// The ramp is noticed for the whole account; before it, a page had been open on h.
fn lines_of_account() -> Vec<Value> {
    let mut account =
        alarm("n1", ["opened", "notice", ""], ["40:00", "40:10", "40:12"], "aggregate", &[]);
    account["scope"] = "account".into();
    account["function"] = Value::Null;
    vec![
        alarm("h1", ["opened", "page", "h"], ["39:00", "39:59", "39:59"], "rate_fast", &[]),
        account,
        json!({"kind": "gossip"}),
    ]
}

fn ledger() -> Vec<Value> {
    let row = |clock: &str, name: &str, nano_usd: i64| {
        let function = format!("000000000001:eu:{name}");
        json!({"kind": "minute", "minute": at(clock), "function": function, "requests": 1,
               "mb_ms": 1, "refused": 0, "nano_usd": nano_usd})
    };
    vec![
        row("10:00", "f", 60_010),
        row("10:00", "q", 1),
        row("11:00", "f", 60_090),
        json!({"kind": "gossip"}),
        row("40:00", "g", 600),
        row("40:00", "h", 300),
        row("41:00", "g", 60_000),
    ]
}

fn score(blocks: &[Value], ledger: Option<&[Value]>) -> Result<RunScore, Flaw> {
    let truth = serde_json::from_value(truth()).unwrap();
    let mut decisions = Decisions::new("d.jsonl".to_owned(), truth)?;
    for line in [&[run_line()], blocks, &[summary()]].concat() {
        decisions.line(line.to_string().as_bytes())?;
    }
    let judged = decisions.finish()?;
    let Some(rows) = ledger else {
        return Ok(judged.score());
    };
    let mut ledger = judged.with_ledger();
    for row in rows {
        ledger.line(row.to_string().as_bytes())?;
    }
    ledger.finish()
}

fn all_lines() -> Vec<Value> {
    [lines_of_f(), lines_of_q(), lines_of_account()].concat()
}

#[test]
fn an_attack_is_scored_by_its_first_page_and_by_everybody_it_named() {
    let run = score(&all_lines(), Some(&ledger())).unwrap();
    let [flood, _, _] = &run.attacks[..] else { panic!("{run:#?}") };
    let alarm = flood.alarm.as_ref().unwrap();
    assert_eq!((flood.found, &*alarm.id, &*alarm.channel), (Found::Page, "f1", "rate_fast"));
    assert_eq!(alarm.about, "000000000001:eu:f");
    assert_eq!(flood.evidence_delay_ms, Some(2_000));
    assert_eq!(flood.decision_delay_ms, Some(3_000));
    assert_eq!((flood.pages, flood.notices, flood.already_open), (2, 0, false));
    let named = &flood.attribution;
    assert_eq!((named.sources, named.right, named.missed, named.wrong), (3, 2, 1, 1));
    assert_eq!((named.unjudged, named.named_delay_ms), (0, Some(3_000)));
    // Three seconds of the minute, and three quarters of them because 2 of 8 were expected:
    // 60,010 · 3 / 60 = 3,000.5 and 3,001 · 3 / 4 = 2,250.75.
    let spend = flood.spend.as_ref().unwrap();
    assert_eq!((spend.until, spend.nano_usd), ("page", NanoUsd(3_001)));
    assert_eq!(spend.excess_nano_usd, Some(NanoUsd(2_251)));
}

#[test]
fn what_nobody_was_woken_for_is_told_to_its_end() {
    let run = score(&all_lines(), Some(&ledger())).unwrap();
    let [_, ramp, silent] = &run.attacks[..] else { panic!("{run:#?}") };
    let alarm = ramp.alarm.as_ref().unwrap();
    assert_eq!((ramp.found, &*alarm.id, &*alarm.channel), (Found::Notice, "n1", "aggregate"));
    assert_eq!(alarm.about, "account 000000000001");
    assert_eq!((ramp.decision_delay_ms, ramp.already_open), (Some(12_000), true));
    let spend = ramp.spend.as_ref().unwrap();
    assert_eq!((spend.until, spend.nano_usd, spend.excess_nano_usd), ("end", NanoUsd(900), None));
    assert_eq!((silent.found, &silent.alarm), (Found::NoRecords, &None));
    let without = score(&all_lines(), None).unwrap();
    assert!(without.attacks.iter().all(|attack| attack.spend.is_none()));
}

#[test]
fn what_belongs_to_no_attack_is_false() {
    let run = score(&all_lines(), None).unwrap();
    let ids =
        |count: &FalseCount| count.alarms.iter().map(|alarm| alarm.id.clone()).collect::<Vec<_>>();
    assert_eq!(ids(&run.false_pages), ["q1", "f3", "h1"]);
    assert_eq!(run.false_pages.count, 3);
    assert_eq!(run.false_pages.by_channel, [("rate_fast".into(), 1), ("yoyo".into(), 2)].into());
    assert_eq!(ids(&run.false_notices), ["q2"]);
    let [during, outside] = [run.actions.in_attack, run.actions.outside];
    assert_eq!((during.planned, during.applied), (2, 0));
    assert_eq!(during.legit_refused_share_max, Some(0.02));
    assert_eq!((outside.planned, outside.applied), (0, 1));
    assert_eq!(outside.legit_refused_share_max, Some(0.3));
    assert_eq!(run.unknown_lines, [("gossip".to_owned(), 1)].into());
}

#[test]
fn runs_are_pooled_per_kind_and_never_over_kinds() {
    let found = score(&all_lines(), Some(&ledger())).unwrap();
    let nothing = score(&[], Some(&ledger())).unwrap();
    let report = Report::new(vec![found, nothing]);
    let flood = &report.kinds["flood"];
    assert_eq!((flood.attacks, flood.without_records), (2, 2));
    assert_eq!((flood.paged, flood.noticed, flood.missed), (1, 0, 1));
    assert_eq!(flood.paged_share, Some(0.5));
    // Wilson at 1 of 2.
    check(flood.paged_share_95.unwrap(), 0.094_53, 0.905_47);
    let delay = flood.decision_delay.unwrap();
    assert_eq!((delay.count, delay.median_ms, delay.p99_ms), (1, 3_000, 3_000));
    assert_eq!(flood.before_page.unwrap().p99_nano_usd, NanoUsd(3_001));
    assert_eq!(flood.before_page_excess.unwrap().median_nano_usd, NanoUsd(2_251));
    // The whole flood: half a minute, a minute, and half a minute in which nothing was spent.
    assert_eq!(flood.unpaged_nano_usd, Some(NanoUsd(30_005 + 60_090)));
    assert_eq!((flood.sources, flood.sources_right, flood.sources_missed), (6, 2, 4));
    let ramp = &report.kinds["ramp"];
    assert_eq!((ramp.attacks, ramp.paged, ramp.noticed, ramp.missed), (2, 0, 1, 1));
    assert_eq!((ramp.decision_delay, ramp.unpaged_nano_usd), (None, Some(NanoUsd(1_800))));

    let alarms = &report.false_alarms;
    assert!((alarms.function_days - 5.0).abs() < 1e-9);
    assert_eq!((alarms.pages.count, alarms.pages.per_function_day), (3, Some(0.75)));
    // Garwood at 3: 0.6187 to 8.7673, over four days.
    check(alarms.pages.per_function_day_95.unwrap(), 0.154_67, 2.191_82);
    let promised = alarms.promised.unwrap();
    assert!((promised.pages_per_function_day - 1e-5).abs() < 1e-12);
    assert!((promised.pages - 4e-5).abs() < 1e-12);
    assert_eq!(report.actions.outside.applied, 1);
}

fn check(interval: Interval, low: f64, high: f64) {
    let off = (interval.low - low).abs().max((interval.high - high).abs());
    assert!(off < 1e-5, "{interval:?} is not {low} to {high}");
}

#[test]
fn names_are_not_judged_where_the_list_of_sources_was_cut() {
    let mut truth = truth();
    truth["attacks"][0]["sources_cut"] = true.into();
    let truth = serde_json::from_value(truth).unwrap();
    let mut decisions = Decisions::new(String::new(), truth).unwrap();
    for line in [vec![run_line()], lines_of_f(), vec![summary()]].concat() {
        decisions.line(line.to_string().as_bytes()).unwrap();
    }
    let named = decisions.finish().unwrap().score().attacks.remove(0).attribution;
    assert_eq!((named.right, named.wrong, named.unjudged), (2, 0, 1));
}

#[test]
fn the_tables_say_what_the_report_holds() {
    let report = Report::new(vec![score(&all_lines(), Some(&ledger())).unwrap()]).to_string();
    for line in [
        "flood   f             page f1          rate_fast  crowd  2.0 s     3.0 s  $0.000003",
        "ramp    g ...         notice n1",
        "flood   k             left no records  -",
        "flood  1        1      0        0       100.0 % (20.7 to 100.0)",
        "false pages           3 (rate_fast 1, yoyo 2), 1.500 a function-day behind warm-up",
        "promised            at most 2.0e-5, 1.0e-5 a function-day",
        "false notices         1 (cost 1), 0.500 a function-day behind warm-up",
        "actions without one   0 planned, 1 applied, up to 30.0 % of legitimate requests refused",
        "unknown kinds of line gossip 2 (d.jsonl)",
    ] {
        let line = line.split_whitespace().collect::<Vec<_>>().join(" ");
        let said = report.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "));
        assert!(said.clone().any(|said| said.contains(&line)), "no {line:?} in\n{report}");
    }
}

#[test]
fn files_that_cannot_be_scored_are_refused_with_what_to_do() {
    let with = |mut line: Value, path: &str, value: Value| {
        *line.pointer_mut(path).unwrap() = value;
        line
    };
    let [opened, second] = [0, 7].map(|index| lines_of_f()[index].clone());
    for (lines, part) in [
        (vec![], "first line is not of kind run"),
        (vec![opened.clone(), run_line()], "first line is not of kind run"),
        (vec![with(run_line(), "/v", 2.into())], "decisions of form 2, accepted: 1"),
        (vec![run_line(), opened.clone()], "cut off, replay again"),
        (vec![run_line(), run_line()], "split the file"),
        (vec![run_line(), summary(), second], "split the file"),
        (vec![run_line(), with(opened.clone(), "/onset", "noon".into())], "RFC 3339"),
        (vec![run_line(), with(opened, "/severity", "alert".into())], "unknown variant `alert`"),
        (vec![run_line(), json!({"Records": []})], "missing field `kind`"),
        (vec![run_line(), ledger()[0].clone()], "give this file as --ledger"),
        (
            vec![run_line(), with(summary(), "/records/counted", 7.into())],
            "about 1000 records and the decisions about 107",
        ),
        (
            vec![run_line(), with(summary(), "/first_event", "2026-01-06T00:00:00Z".into())],
            "own records",
        ),
        (vec![run_line(), with(summary(), "/warmup_function_days", 3.into())], "replay again"),
    ] {
        let mut decisions =
            Decisions::new(String::new(), serde_json::from_value(truth()).unwrap()).unwrap();
        let read = lines.iter().try_for_each(|line| decisions.line(line.to_string().as_bytes()));
        let flaw = read.and_then(|()| decisions.finish().map(drop)).unwrap_err().to_string();
        assert!(flaw.contains(part), "no {part:?} in {flaw}");
    }
    for (rows, part) in [
        (ledger()[..6].to_vec(), "comes to 121001 nano-dollars"),
        (vec![], "the whole ledger of the same replay"),
        (vec![run_line()], "give this file as --decisions"),
        (vec![json!({"kind": "minute", "minute": at("10:00")})], "missing field `function`"),
    ] {
        let flaw = score(&[], Some(&rows)).unwrap_err().to_string();
        assert!(flaw.contains(part), "no {part:?} in {flaw}");
    }
    for (path, value, part) in [
        ("/v", json!(2), "truth of form 2"),
        ("/attacks/0/functions", json!([]), "attack 1: it has no victims"),
        ("/attacks/1/last_record", json!(at("01:00")), "attack 2: its last record is before"),
        ("/attacks/1/last_record", Value::Null, "attack 2: only one of"),
    ] {
        let truth = serde_json::from_value(with(truth(), path, value)).unwrap();
        let flaw = Decisions::new(String::new(), truth).unwrap_err().to_string();
        assert!(flaw.contains(part), "no {part:?} in {flaw}");
    }
}

#[test]
fn a_line_that_is_cut_off_is_told_with_its_column() {
    let truth = serde_json::from_value(truth()).unwrap();
    let mut decisions = Decisions::new(String::new(), truth).unwrap();
    let flaw = decisions.line(br#"{"kind":"run","v""#).unwrap_err().to_string();
    assert!(flaw.starts_with("not a line of decisions: EOF"), "{flaw}");
    assert!(flaw.contains("(column 17)") && !flaw.contains("line 1"), "{flaw}");
}

proptest! {
    /// Lines of one function stay in order; which function comes when is drawn.
    #[test]
    fn the_order_of_different_functions_does_not_matter(
        choices in proptest::collection::vec(0_usize..3, 0..40),
    ) {
        let mut blocks = [lines_of_f(), lines_of_q(), lines_of_account()];
        let expected = score(&blocks.concat(), Some(&ledger())).unwrap();
        let mut mixed = Vec::new();
        for choice in choices {
            if !blocks[choice].is_empty() {
                mixed.push(blocks[choice].remove(0));
            }
        }
        mixed.extend(blocks.concat());
        let mut rows = ledger();
        rows.reverse();
        prop_assert_eq!(score(&mixed, Some(&rows)).unwrap(), expected);
    }
}
