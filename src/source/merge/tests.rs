use super::*;
use proptest::prelude::*;

const IDLE: Duration = Duration::from_secs(2);
const START: Duration = Duration::ZERO;

fn time(second: i64) -> EventTime {
    EventTime::saturating_from_ms(1_700_000_000_000 + second * 1_000)
}

fn merge_of(lanes: &[&[Option<i64>]]) -> Merge<(u32, usize)> {
    let mut merge = Merge::new(IDLE);
    for (index, items) in (0..).zip(lanes) {
        let lane = merge.add_lane(START);
        for (place, &second) in items.iter().enumerate() {
            merge.push(lane, second.map(time), (index, place));
        }
    }
    merge
}

fn drain(merge: &mut Merge<(u32, usize)>, now: Duration) -> Vec<(u32, usize)> {
    let mut order = Vec::new();
    while let Pop::Item { lane, item } = merge.pop(now) {
        assert_eq!(lane, item.0);
        order.push(item);
    }
    order
}

fn check(lanes: &[&[Option<i64>]], expected: &[(u32, usize)]) {
    let mut merge = merge_of(lanes);
    (0..).zip(lanes).for_each(|(lane, _)| merge.end(lane));
    assert_eq!(drain(&mut merge, START), expected, "{lanes:?}");
    assert!(merge.is_exhausted());
}

#[test]
fn items_come_out_by_time_then_lane_then_place() {
    let some = Some;
    check(&[&[some(1), some(3)], &[some(2), some(4)]], &[(0, 0), (1, 0), (0, 1), (1, 1)]);
    check(&[&[some(1), some(1)], &[some(1)]], &[(0, 0), (0, 1), (1, 0)]);
    check(&[&[some(2)], &[some(2)], &[some(1)]], &[(2, 0), (0, 0), (1, 0)]);
    // Without a time: with the predecessor, or first.
    check(&[&[some(1), None, some(5)], &[some(2)]], &[(0, 0), (0, 1), (1, 0), (0, 2)]);
    check(&[&[some(1)], &[None, some(2)]], &[(1, 0), (0, 0), (1, 1)]);
    check(&[], &[]);
}

#[test]
fn a_head_from_the_far_future_does_not_block_what_is_behind_it() {
    let far = Some(2_000_000_000);
    check(
        &[&[far, Some(1), Some(4)], &[Some(2), Some(3)]],
        &[(0, 0), (0, 1), (1, 0), (1, 1), (0, 2)],
    );
}

#[test]
fn a_silent_lane_holds_the_others_back_until_it_has_been_idle_and_again_after_it_spoke() {
    let mut merge = merge_of(&[&[Some(5)], &[]]);
    assert_eq!(merge.hungry(), [1]);
    assert_eq!(merge.pop(START), Pop::Held { until: IDLE });
    merge.push(1, Some(time(1)), (1, 0));
    assert_eq!(merge.pop(START), Pop::Item { lane: 1, item: (1, 0) });
    assert_eq!(merge.pop(START), Pop::Held { until: IDLE });
    assert_eq!(merge.pop(IDLE), Pop::Item { lane: 0, item: (0, 0) });
    merge.push(0, Some(time(6)), (0, 1));
    assert_eq!(merge.pop(IDLE), Pop::Item { lane: 0, item: (0, 1) });
}

#[test]
fn a_lane_that_is_caught_up_or_ended_holds_nobody_back() {
    let mut merge = merge_of(&[&[Some(5), Some(6), Some(7)], &[], &[]]);
    merge.set_caught_up(1);
    merge.end(2);
    assert_eq!(merge.pop(START), Pop::Item { lane: 0, item: (0, 0) });
    merge.push(1, Some(time(1)), (1, 0));
    assert_eq!(merge.pop(START), Pop::Item { lane: 1, item: (1, 0) });
    assert_eq!(merge.pop(START), Pop::Held { until: IDLE });
    merge.set_caught_up(1);
    assert_eq!(merge.pop(START), Pop::Item { lane: 0, item: (0, 1) });
    assert!(!merge.is_exhausted());
}

#[test]
fn a_dropped_queue_is_gone_and_the_lane_can_speak_again() {
    let mut merge = merge_of(&[&[Some(1), Some(2)], &[Some(3)]]);
    merge.drop_queue(0);
    assert_eq!(merge.pop(START), Pop::Item { lane: 1, item: (1, 0) });
    merge.end(1);
    assert!(merge.is_exhausted());
    merge.open(0, START);
    merge.push(0, Some(time(9)), (0, 2));
    assert_eq!(merge.queued(0), 1);
    assert_eq!(merge.pop(START), Pop::Item { lane: 0, item: (0, 2) });
}

#[derive(Debug, Clone)]
enum Step {
    Push(usize),
    Pop,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        3 => (0_usize..6).prop_map(Step::Push),
        2 => Just(Step::Pop),
    ];
    proptest::collection::vec(step, 0..400)
}

proptest! {
    #[test]
    fn sorted_lanes_come_out_sorted_whatever_the_interleaving(
        mut lanes in proptest::collection::vec(
            proptest::collection::vec(0_i64..100, 0..40), 1..6),
        steps in steps(),
    ) {
        lanes.iter_mut().for_each(|lane| lane.sort_unstable());
        let out = run(&lanes, &steps);
        let times: Vec<i64> = out.iter().map(|&(l, p)| lanes[l as usize][p]).collect();
        prop_assert!(times.is_sorted());
        prop_assert_eq!(out.len(), lanes.iter().map(Vec::len).sum::<usize>());
    }

    #[test]
    fn nothing_is_lost_or_doubled_and_lanes_keep_their_order(
        lanes in proptest::collection::vec(
            proptest::collection::vec(0_i64..100, 0..40), 1..6),
        steps in steps(),
    ) {
        let out = run(&lanes, &steps);
        for (index, lane) in (0..).zip(&lanes) {
            let places: Vec<usize> =
                out.iter().filter(|&&(l, _)| l == index).map(|&(_, p)| p).collect();
            prop_assert_eq!(places, (0..lane.len()).collect::<Vec<_>>());
        }
    }
}

/// Pushes and pops as told, then everything that is left.
fn run(lanes: &[Vec<i64>], steps: &[Step]) -> Vec<(u32, usize)> {
    let mut merge = Merge::new(Duration::MAX);
    let mut out = Vec::new();
    let mut pushed = vec![0; lanes.len()];
    for _ in lanes {
        merge.add_lane(START);
    }
    let mut push = |merge: &mut Merge<(u32, usize)>, index: usize| {
        let lane = u32::try_from(index).unwrap();
        let place = pushed[index];
        if let Some(&second) = lanes[index].get(place) {
            merge.push(lane, Some(time(second)), (lane, place));
            pushed[index] += 1;
        }
        if pushed[index] == lanes[index].len() {
            merge.end(lane);
        }
    };
    for step in steps {
        match step {
            Step::Push(index) => push(&mut merge, index % lanes.len()),
            Step::Pop => {
                if let Pop::Item { item, .. } = merge.pop(START) {
                    out.push(item);
                }
            }
        }
    }
    // Lane by lane, so that every lane has something queued or has ended when one pops.
    while !merge.is_exhausted() {
        for index in 0..lanes.len() {
            push(&mut merge, index);
        }
        if let Pop::Item { item, .. } = merge.pop(START) {
            out.push(item);
        }
    }
    out
}
