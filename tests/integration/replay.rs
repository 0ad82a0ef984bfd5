//! Records with a known attack in them: is it found, in time, with the right names, and does every
//! line that comes out have the form that scripts rely on?

use std::collections::BTreeSet;
use std::fs;

use serde_json::Value;

use crate::support::{
    Recorded, Replayed, bursar, generate, generate_in_one_account, kind, lines, ms, pages, replay,
    run,
};

const FLOOD: &str = "flood:factor=20,min_rps=50,start=30m,duration=5m,sources=20";

fn replayed(recorded: &Recorded) -> Replayed {
    replay(recorded.folder.path(), |command| {
        command.arg("--json").arg(recorded.path("all.json")).arg(&recorded.records);
    })
}

fn strings(list: &Value) -> BTreeSet<&str> {
    list.as_array().unwrap().iter().map(|item| item.as_str().unwrap()).collect()
}

/// The addresses that an alarm's line names.
fn named(alarm: &Value) -> BTreeSet<&str> {
    let sources = alarm["attribution"]["sources"].as_array().unwrap().iter();
    let addresses = sources.filter(|source| source["dimension"] == "address");
    addresses.map(|source| source["source"].as_str().unwrap()).collect()
}

/// `account:region:name` of an alarm.
fn function(alarm: &Value) -> String {
    let part = |name: &str| alarm[name].as_str().unwrap().to_owned();
    [part("account"), part("region"), part("function")].join(":")
}

/// Everything about the attack's first page; further pages may follow for later bursts.
fn check_found(recorded: &Recorded, decisions: &[Value]) {
    let attack = recorded.attack();
    let (victims, attackers) = (strings(&attack["functions"]), strings(&attack["sources"]));
    let pages = pages(decisions);
    for page in &pages {
        assert!(victims.contains(&*function(page)), "a false page: {page:#}");
        assert!(ms(&page["onset"]) >= ms(&attack["onset"]) - 1_000, "{page:#}");
    }
    let after = |alarm: &Value| ms(&alarm["decided_at"]) - ms(&attack["first_record"]);
    let first = kind(decisions, "alarm")[0];
    let delay = after(first);
    assert!((0..=2_000).contains(&delay), "found {delay} ms after the attack's first record");
    // Where the money does not say so at once, the callers have to.
    let page = pages.first().expect("a page");
    let delay = after(page);
    assert!((0..=5_000).contains(&delay), "paged {delay} ms after the attack's first record");
    let mut all = BTreeSet::new();
    for alarm in kind(decisions, "alarm") {
        let wrong: Vec<_> = named(alarm).difference(&attackers).copied().collect();
        assert!(wrong.is_empty(), "{wrong:?} did not attack: {alarm:#}");
        all.extend(named(alarm));
    }
    assert_eq!(all, attackers);
    let classes = kind(decisions, "alarm").into_iter().map(|alarm| &alarm["class"]);
    assert!(classes.clone().any(|class| class == "attack"), "{:?}", classes.collect::<Vec<_>>());
    for page in pages {
        let last = decisions.iter().rfind(|line| line["id"] == page["id"]).unwrap();
        assert_eq!(last["state"], "closed", "{last:#}");
    }
}

#[test]
fn a_flood_is_paged_once_within_two_seconds_and_all_its_sources_are_named() {
    let recorded = generate(1, 60, Some(FLOOD));
    let replayed = replayed(&recorded);
    let decisions = replayed.lines();
    assert_eq!(strings(&recorded.attack()["sources"]).len(), 20);
    assert_eq!(pages(&decisions).len(), 1);
    check_found(&recorded, &decisions);
    check_contract(&decisions);
    check_money(&recorded, &replayed, &decisions);
    check_plan(&recorded, &decisions);

    let whole: Value =
        serde_json::from_str(&fs::read_to_string(recorded.path("all.json")).unwrap()).unwrap();
    assert_eq!(whole["lines"].as_array().unwrap(), &decisions);
    assert_eq!(&whole["summary"], decisions.last().unwrap());
    let victim = pages(&decisions)[0]["function"].as_str().unwrap();
    assert!(replayed.stdout.contains(&format!("PAGE   {victim}: called")), "{}", replayed.stdout);
}

#[test]
fn without_an_attack_nothing_is_paged_and_nothing_is_done() {
    let recorded = generate(1, 60, None);
    let replayed = replayed(&recorded);
    let decisions = replayed.lines();
    let kinds: Vec<_> = decisions.iter().map(|line| line["kind"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["run", "summary"]);
    check_contract(&decisions);
    check_money(&recorded, &replayed, &decisions);
}

#[test]
fn floods_and_bursts_are_found_whatever_the_seed() {
    let attacks = [
        "flood:factor=20,min_rps=50,start=15m,duration=3m,sources=20",
        "yoyo:factor=20,min_rps=50,start=15m,duration=6m,on=30s,off=90s,sources=20",
    ];
    for seed in 2..=4 {
        for attack in attacks {
            let recorded = generate(seed, 24, Some(attack));
            let decisions = replayed(&recorded).lines();
            let count = pages(&decisions).len();
            let bursts = if attack.starts_with("yoyo") { 3 } else { 1 };
            assert!((1..=bursts).contains(&count), "{count} pages, seed {seed}, {attack}");
            check_found(&recorded, &decisions);
            check_contract(&decisions);
        }
    }
}

#[test]
fn a_rate_too_thin_for_any_function_is_an_alarm_over_the_account_for_people() {
    let spread = "spread:functions=60,rps=24,start=40m,duration=8m,sources=200";
    let recorded = generate_in_one_account(1, 60, Some(spread));
    let replayed = replayed(&recorded);
    let decisions = replayed.lines();
    check_contract(&decisions);
    let attack = recorded.attack();
    let alarms = kind(&decisions, "alarm");
    let (of_account, of_function): (Vec<_>, Vec<_>) =
        alarms.into_iter().partition(|line| line["scope"] == "account");
    assert!(of_function.is_empty(), "{of_function:#?}");
    assert!(kind(&decisions, "action").is_empty());
    let opened: Vec<_> = of_account.iter().filter(|line| line["state"] == "opened").collect();
    assert!(!opened.is_empty());
    let victims = strings(&attack["functions"]);
    for alarm in opened {
        let onset = ms(&alarm["onset"]) - ms(&attack["onset"]);
        assert!((-60_000..=60_000).contains(&onset), "{alarm:#}");
        let delay = ms(&alarm["decided_at"]) - ms(&attack["first_record"]);
        assert!((0..=240_000).contains(&delay), "{delay} ms");
        for named in alarm["functions"]["largest"].as_array().unwrap() {
            assert!(victims.contains(named["function"].as_str().unwrap()), "{named:#}");
        }
    }
    let decisions = recorded.path("decisions.jsonl");
    let mut evaluate = bursar(["evaluate", "--truth"]);
    evaluate.arg(recorded.path("truth.json")).arg("--decisions").arg(decisions);
    let score: Value =
        serde_json::from_str(&run(evaluate.args(["--json", "-"])).succeeded().stdout).unwrap();
    let scored = &score["runs"][0]["attacks"][0];
    assert_eq!(scored["alarm"]["channel"], "aggregate", "{scored:#}");
    assert_eq!(score["false_alarms"]["notices"]["count"], 0);
}

#[test]
fn a_budget_that_burns_too_fast_is_paged_and_every_budget_says_how_it_stands() {
    let flood = "flood:factor=20,min_rps=120,start=20m,duration=10m,sources=20";
    let recorded = generate(1, 75, Some(flood));
    let attack = recorded.attack();
    let victim = attack["functions"][0].as_str().unwrap();
    let (account, _) = victim.split_once(':').unwrap();
    let settings = format!(
        "[[budgets]]\nfunction = \"{victim}\"\nmonthly_usd = 15.0\n\
         [[budgets]]\naccount = \"{account}\"\nmonthly_usd = 5000.0\n"
    );
    fs::write(recorded.path("budgets.toml"), settings).unwrap();
    let replayed = |shards: &str, batch: &str| {
        replay(recorded.folder.path(), |command| {
            command.arg("--config").arg(recorded.path("budgets.toml")).arg(&recorded.records);
            command.env("BURSAR__ENGINE__SHARDS", shards);
            command.env("BURSAR__ENGINE__BATCH_RECORDS", batch);
        })
    };
    let one = replayed("1", "4096");
    let decisions = one.lines();
    check_contract(&decisions);
    let said = |budget: &str| {
        let budgets = kind(&decisions, "budget").into_iter();
        budgets.filter(|line| line["budget"] == budget).collect::<Vec<_>>()
    };
    let [opened, closed, standing] = said(victim)[..] else {
        panic!("{:#?}", said(victim));
    };
    for (line, state) in [(opened, "opened"), (closed, "closed")] {
        assert_eq!((&line["state"], &line["severity"]), (&state.into(), &"page".into()));
        assert_eq!(line["id"], opened["id"]);
    }
    let after = ms(&opened["decided_at"]) - ms(&attack["first_record"]);
    assert!((0..=600_000).contains(&after), "opened after {after} ms");
    assert!(opened["p_over"].as_f64() > Some(0.9) && !opened["exhausted_in_s"].is_null());
    assert_eq!(standing["state"], "standing");
    let own = |row: &&Value| row["function"].as_str() == Some(victim);
    let ledger = lines(&one.ledger);
    let spent: i64 = ledger.iter().filter(own).map(|row| row["nano_usd"].as_i64().unwrap()).sum();
    assert_eq!(standing["spent_month_nano_usd"], spent);

    let [calm] = said(account)[..] else { panic!("{:#?}", said(account)) };
    assert_eq!((&calm["state"], &calm["severity"]), (&"standing".into(), &Value::Null));
    assert!(one.stdout.contains(&format!("PAGE   budget {victim}: burns ")), "{}", one.stdout);
    let budgets = |replayed: &Replayed| {
        kind(&replayed.lines(), "budget").into_iter().map(Value::to_string).collect::<Vec<_>>()
    };
    assert_eq!(budgets(&replayed("3", "64")), budgets(&one));
}

/// What was asked for: a throttle of the sources, of the attacked function, planned only.
fn check_plan(recorded: &Recorded, decisions: &[Value]) {
    let attack = recorded.attack();
    let actions = kind(decisions, "action");
    let first = actions.first().expect("a plan");
    assert_eq!((&first["verb"], &first["actuator"]), (&"restrict".into(), &"waf_ip_set".into()));
    let blocked = strings(&first["to"]["value"]);
    assert!(!blocked.is_empty() && blocked.is_subset(&strings(&attack["sources"])), "{first:#}");
    for action in actions {
        assert_eq!(action["outcome"], "planned");
        assert_eq!(action["mode"], "observe");
        assert_eq!(action["effective_at"], Value::Null);
        assert!(strings(&attack["functions"]).contains(action["target"].as_str().unwrap()));
        let alarms = kind(decisions, "alarm");
        assert!(alarms.iter().any(|alarm| alarm["id"] == action["alarm_id"]), "{action:#}");
    }
}

/// The summary's money and counts against the ledger's sums and the truth's number of records.
fn check_money(recorded: &Recorded, replayed: &Replayed, decisions: &[Value]) {
    let summary = decisions.last().unwrap();
    let ledger = lines(&replayed.ledger);
    let sum = |field: &str| ledger.iter().map(|row| row[field].as_i64().unwrap()).sum::<i64>();
    let (spend, rows) = (summary["spend_nano_usd"].as_i64().unwrap(), ledger.len());
    let rounding = i64::try_from(rows).unwrap();
    assert!((spend - sum("nano_usd")).abs() <= rounding, "{spend}, {} rows", rows);
    assert!(spend > 100_000_000, "{spend}");
    let place = |row: &Value| (ms(&row["minute"]), row["function"].to_string());
    let places: BTreeSet<_> = ledger.iter().map(place).collect();
    assert_eq!(places.len(), rows, "one row for a minute of a function");
    check_busy_minutes(&ledger);
    let functions: BTreeSet<_> = ledger.iter().map(|row| row["function"].as_str()).collect();
    assert_eq!(summary["functions"], functions.len());
    let records = &summary["records"];
    for (what, count) in [("late", 0), ("duplicate", 0), ("rejected", 0)] {
        assert_eq!(records[what], count, "{what}");
    }
    // The first access-log lines of an API come before it is known which function it stands for.
    let of = |what: &str| records[what].as_u64().unwrap();
    assert_eq!(of("counted") + of("unrouted"), recorded.truth["records"]);
    assert!(of("unrouted") < 100, "{records}");
    let places: Vec<_> = ledger.iter().map(|row| (ms(&row["minute"]), &row["function"])).collect();
    assert!(places.is_sorted_by_key(|(minute, function)| (*minute, function.as_str())));
    for row in &ledger {
        check_fields(row, "kind minute function requests mb_ms refused nano_usd");
        assert_eq!(ms(&row["minute"]) % 60_000, 0);
        check_values("", row);
    }
}

/// The busy functions of the trace have a row for every minute, about as large as the trace says.
fn check_busy_minutes(ledger: &[Value]) {
    for (name, called) in (0..12).map(|row| (format!("f{row:02}x"), 120 - 8 * row)) {
        let own = ledger.iter().filter(|row| row["function"].as_str().unwrap().ends_with(&name));
        let requests: Vec<u64> = own.map(|row| row["requests"].as_u64().unwrap()).collect();
        // The last calls may complete in a minute of their own.
        assert!((60..=61).contains(&requests.len()), "{name}: {} minutes", requests.len());
        let least = requests[..60].iter().min().unwrap();
        assert!((called / 2..=called * 5 / 4).contains(least), "{name}: {requests:?}");
    }
}

/// Design of the output: a first line, a last line, and the fields that scripts depend on.
fn check_contract(decisions: &[Value]) {
    assert_eq!(decisions.first().unwrap()["kind"], "run");
    assert_eq!(kind(decisions, "run").len(), 1);
    assert_eq!(decisions.last().unwrap()["kind"], "summary");
    assert_eq!(kind(decisions, "summary").len(), 1);
    for line in decisions {
        check_values("", line);
        match line["kind"].as_str().unwrap() {
            "run" => {
                check_fields(
                    line,
                    "v kind version config_sha256 prices seed mode bucket_ms lateness_ms promise",
                );
                assert_eq!((&line["v"], &line["bucket_ms"]), (&1.into(), &1_000.into()));
                assert_eq!(line["version"], env!("CARGO_PKG_VERSION"));
            }
            "alarm" => check_alarm(line),
            "action" => {
                check_fields(
                    line,
                    "kind id alarm_id restriction_id verb actuator target from to loss_class \
                     expires_at decided_at effective_at mode outcome reason legit_refused_share",
                );
                for setting in [&line["from"], &line["to"]] {
                    let state = setting["state"].as_str().unwrap();
                    assert_eq!(setting.get("value").is_some(), state == "set", "{line:#}");
                }
                let share = line["legit_refused_share"].as_f64().unwrap();
                assert!((0.0..=1.0).contains(&share));
            }
            "budget" => check_budget(line),
            "abstention" => {
                check_fields(line, "kind alarm_id target decided_at gate reason gates");
                for gate in line["gates"].as_array().unwrap() {
                    check_fields(gate, "gate open value needs");
                }
            }
            "summary" => {
                check_fields(
                    line,
                    "kind records functions function_days warmup_function_days first_event \
                     last_event spend_nano_usd",
                );
                check_fields(&line["records"], "counted late duplicate rejected");
            }
            other => panic!("{other} is no kind of line"),
        }
    }
}

fn check_budget(line: &Value) {
    check_fields(
        line,
        "kind id budget scope state severity burn spent_month_nano_usd budget_nano_usd \
         projected_month_end p_over exhausted_in_s decided_at",
    );
    let pairs = line["burn"].as_array().unwrap();
    assert_eq!(pairs.len(), 3);
    for pair in pairs {
        check_fields(
            pair,
            "long_minutes short_minutes factor severity long short spent_nano_usd firing",
        );
    }
    let firing = pairs.iter().any(|pair| pair["firing"] == true);
    assert_eq!(firing, line["state"] != "closed" && !line["severity"].is_null(), "{line:#}");
    let spent = line["spent_month_nano_usd"].as_i64().unwrap();
    let end = |name: &str| line["projected_month_end"][name].as_i64().unwrap();
    let [low, middle, high] = ["p10_nano_usd", "p50_nano_usd", "p90_nano_usd"].map(end);
    assert!(spent <= low && low <= middle && middle <= high, "{line:#}");
    assert!((0.0..=1.0).contains(&line["p_over"].as_f64().unwrap()));
}

fn check_alarm(line: &Value) {
    check_fields(
        line,
        "kind id state severity scope account region function onset evidence_at arrived_at \
         decided_at position channels class excess attribution",
    );
    check_fields(&line["excess"], "requests mb_ms nano_usd");
    check_fields(&line["attribution"], "diffuse distinct sources");
    for (_, reading) in line["channels"].as_object().unwrap() {
        check_fields(reading, "evidence_log10 threshold_log10 expected observed");
    }
    let times = ["onset", "evidence_at", "decided_at"].map(|name| ms(&line[name]));
    assert!(times.is_sorted(), "{line:#}");
    if line["state"] == "opened" {
        let (_, reading) = line["channels"].as_object().unwrap().iter().next().unwrap();
        let log10 = |name: &str| reading[name].as_f64().unwrap();
        assert!(log10("evidence_log10") >= log10("threshold_log10"), "{line:#}");
    }
    match line["scope"].as_str().unwrap() {
        "function" => check_function_alarm(line),
        "account" => check_account_alarm(line),
        other => panic!("{other} is no scope"),
    }
}

fn check_account_alarm(line: &Value) {
    let null = ["region", "function", "position"].map(|name| line[name].is_null());
    assert_eq!(null, [true; 3], "{line:#}");
    assert_eq!(
        (&line["class"], &line["attribution"]["diffuse"]),
        (&"unknown".into(), &true.into())
    );
    let count = |name: &str| line["functions"][name].as_u64().unwrap();
    assert!(count("lifted") <= count("of"));
    let largest = line["functions"]["largest"].as_array().unwrap();
    assert!(largest.len() <= 10);
    largest.iter().for_each(|named| check_fields(named, "function requests mb_ms nano_usd"));
    let money = |named: &Value| named["nano_usd"].as_i64().unwrap();
    assert!(largest.is_sorted_by(|one, other| money(one) >= money(other)), "{line:#}");
}

fn check_function_alarm(line: &Value) {
    check_fields(line, "projected loss_bound_nano_usd");
    for horizon in ["hour", "day", "month_end"] {
        let money = |name: &str| line["projected"][horizon][name].as_i64().unwrap();
        let [low, middle, high] = ["p10_nano_usd", "p50_nano_usd", "p90_nano_usd"].map(money);
        assert!(0 <= low && low <= middle && middle <= high, "{line:#}");
    }
    for source in line["attribution"]["sources"].as_array().unwrap() {
        check_fields(source, "dimension source share low high");
        let share = |name: &str| source[name].as_f64().unwrap();
        assert!(share("low") <= share("share") && share("share") <= share("high"), "{source:#}");
    }
    let (_, offset) = line["position"].as_str().unwrap().rsplit_once(':').unwrap();
    assert!(offset.parse::<u64>().unwrap() > 0);
}

#[track_caller]
fn check_fields(value: &Value, fields: &str) {
    for field in fields.split_whitespace() {
        assert!(value.get(field).is_some(), "no {field} in {value:#}");
    }
}

/// Whole nano-dollars, and times with exactly three decimals in UTC, at any depth.
fn check_values(name: &str, value: &Value) {
    const TIMES: [&str; 4] = ["onset", "first_event", "last_event", "minute"];
    match value {
        Value::Object(members) => {
            members.iter().for_each(|(name, value)| check_values(name, value))
        }
        Value::Array(items) => items.iter().for_each(|item| check_values(name, item)),
        Value::Null => {}
        _ if name.ends_with("nano_usd") || name == "nano_usd_per_hour" => {
            assert!(value.is_i64(), "{name} is {value}");
        }
        _ if name.ends_with("_at") || TIMES.contains(&name) => {
            let stamp = jiff::Timestamp::from_millisecond(ms(value)).unwrap();
            assert_eq!(value.as_str().unwrap(), format!("{stamp:.3}"));
        }
        _ => {}
    }
}

/// A message of the telemetry API, which names no function, with reports that are billed so long.
fn reports(billed_ms: &[i64]) -> String {
    let report = |ms: &i64| {
        serde_json::json!({
            "time": "2026-01-05T00:00:00.000Z", "type": "platform.report",
            "record": {
                "requestId": format!("4b142fc3-0000-4000-8000-{ms:012}"),
                "metrics": { "durationMs": ms, "billedDurationMs": ms, "memorySizeMB": 128 },
            },
        })
    };
    serde_json::json!(billed_ms.iter().map(report).collect::<Vec<_>>()).to_string()
}

#[test]
fn what_was_refused_is_counted_from_its_dead_letters_once_it_can_be_read() {
    let folder = tempfile::tempdir().unwrap();
    let [input, dead, again] =
        ["in.jsonl", "dead.jsonl", "again.jsonl"].map(|name| folder.path().join(name));
    fs::write(&input, reports(&[11, 3_600_001, 13]) + "\n").unwrap();
    let refused = replay(folder.path(), |command| {
        command.env("BURSAR__OUTPUT__DEAD_LETTERS", &dead).arg(&input);
    });
    assert!(refused.stdout.contains("rejected by reason: function_unknown 3"));
    let [letter] = &lines(&fs::read_to_string(&dead).unwrap())[..] else { panic!("not one") };
    assert_eq!(letter["parts"], serde_json::json!([0, 1, 2]));

    // Of the second letter's message only the part in the middle had been refused.
    let mut second = letter.clone();
    second["parts"] = serde_json::json!([1]);
    second["text"] = reports(&[100, 200, 400]).into();
    fs::write(&dead, format!("{letter}\n{second}\n")).unwrap();
    let taken = replay(folder.path(), |command| {
        command.env("BURSAR__INPUT__FUNCTION", "named").arg("--dead-letters").arg(&dead);
        command.env("BURSAR__OUTPUT__DEAD_LETTERS", &again);
    });
    let decisions = taken.lines();
    let records = &decisions.last().unwrap()["records"];
    assert_eq!((&records["counted"], &records["rejected"]), (&3.into(), &1.into()), "{records}");
    let ledger = lines(&taken.ledger);
    let billed: u64 = ledger.iter().map(|row| row["mb_ms"].as_u64().unwrap() / 128).sum();
    assert_eq!(billed, 11 + 13 + 200);
    let [letter] = &lines(&fs::read_to_string(&again).unwrap())[..] else { panic!("not one") };
    assert_eq!(letter["parts"], serde_json::json!([1]));

    let mut command = bursar(["replay", "--dead-letters"]);
    let done = run(command.arg(&again).env("BURSAR__OUTPUT__DEAD_LETTERS", &again));
    assert!(!done.status.success());
    assert!(done.stderr.contains("is an input"), "{}", done.stderr);
}
