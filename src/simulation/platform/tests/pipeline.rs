use super::*;
use crate::decode::{Context, Decoder, Ignored, Limits, Problem, Sink};
use crate::record::{Record, TriggerKind};

/// Records in words, but for the identity of deliveries: its hash is the decoder's own.
#[derive(Default)]
struct Words(Vec<String>);

impl Sink for Words {
    fn record(&mut self, record: &Record<'_>) {
        let words = match *record {
            Record::Invocation(mut invocation) => {
                assert!(invocation.delivery.take().is_some());
                // The text has two decimals of it.
                invocation.init_ms = invocation.init_ms.map(f32::round);
                format!("{invocation:?}")
            }
            Record::Trigger(mut trigger) => {
                trigger.delivery = None;
                format!("{trigger:?}")
            }
            Record::Refusal(refusal) => format!("{refusal:?}"),
        };
        self.0.push(words);
    }

    fn problem(&mut self, problem: Problem<'_>) {
        panic!("{problem:?}");
    }

    fn ignored(&mut self, what: Ignored) {
        panic!("{what:?}");
    }
}

/// A bit of everything: both kinds of API, refusals, errors, timeouts, events.
fn world(seed: u64, packing: Packing, faults: PipelineFaults) -> (Platform, Vec<Delivery>) {
    let lasting = || DurationModel::log_normal(80.0, 900.0).unwrap();
    let origin = Origin { kind: TriggerKind::Sqs, name: "arn:aws:sqs:us-east-1:1:q".to_owned() };
    let functions = vec![
        FunctionSpec { error_share: 0.1, ..with_api("rest", lasting(), ApiKind::Rest) },
        FunctionSpec { reserved: Some(2), ..with_api("http", lasting(), ApiKind::Http) },
        FunctionSpec { origin: Some(origin), timeout_ms: 300, ..function("queue", lasting()) },
    ];
    let settings = PlatformSettings { packing, faults, ..PlatformSettings::default() };
    let mut platform = Platform::new(seed, settings, functions).unwrap();
    let blocked = "198.51.100.9".parse().unwrap();
    let addresses = BTreeSet::from([blocked]);
    platform.command(Command::SetBlocked { addresses }, START.plus_ms(-9_000)).unwrap();
    for index in 0..3_000_i64 {
        let at = START.plus_ms(index * 7);
        let number = usize::try_from(index % 3).unwrap();
        let mut request = request(at, number);
        if number == 2 {
            (request.way, request.address) = (Way::Async, None);
        } else if index % 7 == 0 {
            request.address = Some(blocked);
        }
        platform.offer(request);
    }
    let out = drain(&mut platform);
    (platform, out)
}

#[test]
fn records_as_values_are_what_a_reader_of_the_text_finds() {
    let (_, texts) = world(3, Packing::Gzip, PipelineFaults::default());
    let (typed, values) = world(3, Packing::Typed, PipelineFaults::default());
    assert_eq!(texts.len(), values.len());
    let account = "111122223333".parse().unwrap();
    let context = Context { account, region: "us-east-1", function: None };
    let mut decoder = Decoder::new(Limits::default());
    let (mut from_text, mut from_values) = (Words::default(), Words::default());
    for (text, value) in texts.iter().zip(&values) {
        assert_eq!((text.at, text.records()), (value.at, value.records()));
        decoder.decode(text.text(), &context, &mut from_text);
        typed.read(value, &mut |record| from_values.record(record));
    }
    assert_eq!(from_text.0.len(), from_values.0.len());
    for (text, value) in from_text.0.iter().zip(&from_values.0) {
        assert_eq!(text, value);
    }
    for word in ["Forbidden", "Throttled", "Error", "Timeout", "Sqs", "init_ms: Some"] {
        assert!(from_text.0.iter().any(|text| text.contains(word)), "{word}");
    }
}

#[test]
fn messages_are_late_twice_lost_and_out_of_order_as_often_as_asked() {
    let (_, plain) = world(5, Packing::Typed, PipelineFaults::default());
    let count = |faults: PipelineFaults| world(5, Packing::Typed, faults).1;
    let all = plain.len() as f64;
    let share = |found: usize, wanted: f64| {
        let slack = 4.0 * (wanted * (1.0 - wanted) / all).sqrt();
        assert!((found as f64 / all - wanted).abs() < slack, "{found} of {all}, {wanted}");
    };
    let none = PipelineFaults::default;
    let lost = count(PipelineFaults { lost: 0.2, ..none() });
    share(plain.len() - lost.len(), 0.2);
    let twice = count(PipelineFaults { duplicate: 0.1, ..none() });
    share(twice.len() - plain.len(), 0.1);
    let payloads: Vec<&Payload> = twice.iter().map(|delivery| &delivery.payload).collect();
    let again = |index: usize| payloads[..index].contains(&payloads[index]);
    share((0..payloads.len()).filter(|index| again(*index)).count(), 0.1);
    // Ordinary messages take 2.5 seconds at most.
    let waited = |delivery: &Delivery| match &delivery.payload {
        Payload::Entries(entries) => delivery.at.since_ms(entries[0].at),
        Payload::Text { .. } => 0,
    };
    let late = count(PipelineFaults { late: 0.3, late_ms_max: 6_000_000, ..none() });
    share(late.iter().filter(|delivery| waited(delivery) > 35_000).count(), 0.3);
    let overtaken =
        |out: &[Delivery]| out.iter().filter(|delivery| waited(delivery) > 2_500).count();
    let reordered = count(PipelineFaults { reordered: 0.4, ..none() });
    assert!(overtaken(&reordered) > overtaken(&plain), "{}", overtaken(&reordered));
    assert_eq!(reordered.len(), plain.len());
}

#[test]
fn a_seed_gives_one_course_of_events_however_it_is_stepped() {
    let faults = PipelineFaults { late: 0.1, late_ms_max: 50_000, ..Default::default() };
    let run = |seed, step_ms: i64| {
        let spec = FunctionSpec {
            reserved: Some(4),
            error_share: 0.05,
            ..with_api("f", DurationModel::log_normal(200.0, 2_000.0).unwrap(), ApiKind::Rest)
        };
        let settings = PlatformSettings { packing: Packing::Typed, faults, ..Default::default() };
        let mut platform = Platform::new(seed, settings, vec![spec]).unwrap();
        for index in 0..2_000_i64 {
            let key = u16::try_from(index).unwrap();
            let ways = [Way::Sync, Way::Async, Way::Queue, Way::Stream { key }];
            let way = ways[usize::try_from(index % 4).unwrap()];
            let (client, at) = (Some(u32::from(key)), START.plus_ms(index * 20));
            platform.offer(Request { way, client, ..request(at, 0) });
        }
        let (mut out, mut outcomes) = (Vec::new(), Vec::new());
        while let Some(next) = platform.next_at() {
            platform.advance(next.plus_ms(step_ms), &mut out);
            platform.take_outcomes(&mut outcomes);
        }
        (out, outcomes, platform.tally(None))
    };
    let (out, outcomes, tally) = run(1, 0);
    assert_eq!((outcomes.len(), tally.counts.offered), (2_000, 2_000));
    assert!((out.clone(), outcomes.clone(), tally) == run(1, 977));
    assert!(out != run(2, 0).0);
    let counts = tally.counts;
    let settled = counts.served + counts.throttled + counts.dead;
    assert_eq!(settled, 2_000, "{tally:?}");
}

#[test]
fn faults_move_nothing_but_deliveries() {
    let faults = PipelineFaults { late: 0.1, duplicate: 0.1, lost: 0.1, ..Default::default() };
    let (faulty, _) = world(5, Packing::Typed, PipelineFaults { late_ms_max: 9_000, ..faults });
    let (plain, _) = world(5, Packing::Plain, PipelineFaults::default());
    assert_eq!(faulty.tally(None), plain.tally(None));
}

#[test]
fn the_ledger_sums_to_the_tallies_second_by_second() {
    let settings = PlatformSettings { ledger: true, ..PlatformSettings::default() };
    let functions = vec![
        FunctionSpec { reserved: Some(3), ..with_api("a", constant(700.0), ApiKind::Rest) },
        function("b", constant(40.0)),
    ];
    let mut platform = Platform::new(1, settings, functions).unwrap();
    for index in 0..4_000_i64 {
        let attack = (index % 5 == 0).then_some(u16::from(index % 2 == 0));
        let number = usize::from(index % 3 == 0);
        platform.offer(Request { attack, ..request(START.plus_ms(index * 11), number) });
    }
    let mut rows = Vec::new();
    while let Some(next) = platform.next_at() {
        platform.advance(next.plus_ms(700), &mut Vec::new());
        platform.take_ledger(&mut rows);
    }
    let sum = |of: &dyn Fn(&LedgerRow) -> Counts| {
        rows.iter().fold(Counts::default(), |sum, row| sum.plus(&of(row)))
    };
    let attacks = platform.tally(Some(0)).counts.plus(&platform.tally(Some(1)).counts);
    assert_eq!(sum(&|row| row.legitimate), platform.tally(None).counts);
    assert_eq!(sum(&|row| row.attack), attacks);
    assert!(attacks.throttled > 0 && attacks.served > 0);
    let seconds = rows.iter().map(|row| row.second);
    assert!(seconds.is_sorted() && rows.len() > 80, "{}", rows.len());
}
