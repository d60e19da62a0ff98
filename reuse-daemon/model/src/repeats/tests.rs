//! What is told when.

use super::*;
use crate::fixtures::{SECOND, loopback};

fn kind(port: u16) -> Kind {
    let endpoint = Some(loopback(port));
    Kind { service: Arc::from("srv"), protocol: Protocol::Tcp, endpoint, rule: Rule::Unknown }
}

/// One told refusal as (item, repeated, folded).
fn plain<T>(told: impl IntoIterator<Item = Told<T>>) -> Vec<(T, u64, bool)> {
    told.into_iter().map(|Told { item, repeated, folded }| (item, repeated, folded)).collect()
}

#[test]
fn the_first_is_told_at_once_and_the_rest_as_a_sum() {
    let mut repeats = Repeats::new(Mode::Summary);
    assert_eq!(repeats.next_due(), None);
    assert_eq!(plain(repeats.offer(kind(80), 'a', 1, Moment(0))), [('a', 1, false)]);
    assert_eq!(plain(repeats.offer(kind(81), 'b', 1, Moment(SECOND))), [('b', 1, false)]);
    for item in ['c', 'd', 'e'] {
        assert_eq!(plain(repeats.offer(kind(80), item, 1, Moment(2 * SECOND))), []);
    }
    assert_eq!(repeats.next_due(), Some(Moment(10 * SECOND)));
    assert_eq!(plain(repeats.due(Moment(10 * SECOND - 1))), []);
    assert_eq!(plain(repeats.due(Moment(10 * SECOND))), [('e', 3, false)]);
    assert_eq!(repeats.next_due(), Some(Moment(11 * SECOND)));
    assert_eq!(plain(repeats.due(Moment(11 * SECOND))), [], "it did not repeat and is forgotten");
    assert_eq!(plain(repeats.offer(kind(81), 'f', 1, Moment(12 * SECOND))), [('f', 1, false)]);
    assert_eq!(plain(repeats.offer(kind(80), 'g', 1, Moment(13 * SECOND))), [], "its second window runs");
    assert_eq!(plain(repeats.flush()), [('g', 1, false)]);
    assert_eq!((repeats.next_due(), plain(repeats.flush())), (None, vec![]));
}

#[test]
fn all_tells_each() {
    let mut repeats = Repeats::new(Mode::All);
    for item in 0..3 {
        assert_eq!(plain(repeats.offer(kind(80), item, 1, Moment(0))), [(item, 1, false)]);
    }
    assert_eq!(repeats.next_due(), None);
}

#[test]
fn kinds_beyond_the_bound_become_one_sum() {
    let mut repeats = Repeats::new(Mode::Summary);
    let ports = 1..=20_000_u16;
    let told = ports.filter_map(|port| repeats.offer(kind(port), port, 1, Moment(u64::from(port)))).count();
    assert_eq!((told, repeats.kinds.len()), (KINDS_MAX, KINDS_MAX));
    let sums = plain(repeats.due(Moment(20_000 + WINDOW)));
    assert_eq!(sums, [(20_000, 10_000, true)]);
    assert_eq!((repeats.kinds.len(), repeats.ends.len(), repeats.next_due()), (0, 0, None));
}

#[test]
fn what_is_held_back_is_bounded_by_its_weight_and_nothing_is_lost() {
    let mut repeats = Repeats::new(Mode::Summary);
    let heavy = WEIGHT_MAX / 2;
    for port in [80, 81, 82] {
        assert!(
            repeats.offer(kind(port), 'a', heavy, Moment(0)).is_some(),
            "the first of each is told at once"
        );
    }
    for (port, item) in [(80, 'b'), (81, 'c'), (82, 'd'), (80, 'e'), (81, 'f')] {
        assert_eq!(plain(repeats.offer(kind(port), item, heavy, Moment(1))), []);
    }
    assert_eq!(
        plain(repeats.offer(kind(80), 'g', heavy + 1, Moment(2))),
        [],
        "too heavy: an earlier one stands for it"
    );
    assert_eq!(plain(repeats.due(Moment(WINDOW + 2))), [('e', 3, false), ('f', 2, false), ('d', 1, true)]);
    assert_eq!(repeats.weight, 0);
}
