//! Following: refusals or signals on their way to one who wants each as it happens.
//!
//! The tracer never waits for a follower. What one does not take in time is counted and told to it in the place where
//! it would have been.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use reuse_model::{
    filter::Filter,
    report::{Record, RecordBody},
};
use tokio::sync::{mpsc, oneshot};

/// Most that may wait for one follower, contenders, holders and parties together: what a program that fails in a tight
/// loop makes in some tens of milliseconds, or 16 MiB. All followers share what waits.
const WAITING: usize = 16_384;
/// Followers that may wait to be taken in by the tracer.
const JOINING: usize = 16;

/// What is followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Topic {
    /// Refused calls
    Refusals,
    /// Signals, as they begin and end
    Signals,
}

/// The tracer's end of one follower.
#[derive(Debug)]
pub struct Follower {
    records: mpsc::UnboundedSender<Arc<Record>>,
    waiting: Arc<AtomicUsize>,
    lost: u64,
    /// What it follows
    pub topic: Topic,
    /// How old what it wants first may be; `None`: only what happens from now on
    pub within: Option<Duration>,
    /// What it wants; the rest does not wait for it, and is not lost to it
    filter: Filter,
    /// Who waits until it has been taken in
    joining: Option<oneshot::Sender<()>>,
}

/// The follower's own end. Dropping it ends the following.
#[derive(Debug)]
pub struct Following {
    records: mpsc::UnboundedReceiver<Arc<Record>>,
    waiting: Arc<AtomicUsize>,
}

/// The way on which followers come to the tracer.
#[derive(Clone, Debug)]
pub struct Followers {
    joining: mpsc::Sender<Follower>,
}

/// Both ends of that way.
#[must_use]
pub fn followers() -> (Followers, mpsc::Receiver<Follower>) {
    let (joining, joined) = mpsc::channel(JOINING);
    (Followers { joining }, joined)
}

impl Followers {
    /// Begins to follow: nothing that happens after the return is missed. `None` where the tracer is gone.
    pub async fn join(&self, topic: Topic, within: Option<Duration>, filter: Filter) -> Option<Following> {
        let (mut follower, following) = follower(topic, within, filter);
        let (joining, joined) = oneshot::channel();
        follower.joining = Some(joining);
        self.joining.send(follower).await.ok()?;
        joined.await.ok()?;
        Some(following)
    }
}

fn follower(topic: Topic, within: Option<Duration>, filter: Filter) -> (Follower, Following) {
    let (sender, receiver) = mpsc::unbounded_channel();
    let waiting = Arc::new(AtomicUsize::new(0));
    let follower = Follower {
        records: sender,
        waiting: Arc::clone(&waiting),
        lost: 0,
        topic,
        within,
        filter,
        joining: None,
    };
    (follower, Following { records: receiver, waiting })
}

/// What a record takes of the room.
fn weight(record: &Record) -> usize {
    match &record.body {
        RecordBody::Conflict(event) => 1 + event.holders.len(),
        RecordBody::Signal(event) => 1 + event.parties.len(),
        _ => 1,
    }
}

impl Follower {
    /// Whether nobody is at the other end any more.
    #[must_use]
    pub fn is_gone(&self) -> bool {
        self.records.is_closed()
    }

    /// Tells the other end that it is given each record from now on.
    pub fn welcome(&mut self) {
        if let Some(joining) = self.joining.take() {
            // Nobody to tell if it has gone again.
            let _ = joining.send(());
        }
    }

    /// Gives it a record, or counts it as lost. `tell` makes the record that tells of earlier losses.
    pub fn give(&mut self, record: &Arc<Record>, tell: impl FnOnce(u64) -> Record) {
        let wanted = match &record.body {
            RecordBody::Conflict(event) => self.filter.wants_conflict(event),
            RecordBody::Signal(event) => self.filter.wants_signal(event),
            _ => true,
        };
        if !wanted {
            return;
        }
        if !self.tell_loss(tell) || !self.send(record) {
            self.lost += 1;
        }
    }

    /// Tells what it lost, if anything and if there is room; whether nothing is left to tell.
    pub fn tell_loss(&mut self, tell: impl FnOnce(u64) -> Record) -> bool {
        if self.lost > 0 && self.has_room(1) && self.send(&Arc::new(tell(self.lost))) {
            self.lost = 0;
        }
        self.lost == 0
    }

    fn has_room(&self, weight: usize) -> bool {
        self.waiting.load(Relaxed) + weight <= WAITING
    }

    fn send(&self, record: &Arc<Record>) -> bool {
        let weight = weight(record);
        if !self.has_room(weight) {
            return false;
        }
        // Before it is sent: the other end may take it off at once.
        self.waiting.fetch_add(weight, Relaxed);
        self.records.send(Arc::clone(record)).is_ok()
    }
}

impl Following {
    /// The next records, at most `most`, in order; none when the tracer has stopped.
    ///
    /// Cancel safe.
    pub async fn next(&mut self, most: usize) -> Vec<Arc<Record>> {
        let mut records = Vec::new();
        self.records.recv_many(&mut records, most).await;
        let taken: usize = records.iter().map(|record| weight(record)).sum();
        self.waiting.fetch_sub(taken, Relaxed);
        records
    }
}

#[cfg(test)]
mod tests {
    use reuse_model::report::{LostEvent, RecordBody, SCHEMA};

    use super::*;

    fn record(lost: u64) -> Record {
        let body = RecordBody::Lost(LostEvent { stage: "follow".to_owned(), lost });
        Record { schema: SCHEMA, r#type: body.kind(), time: String::new(), boottime_ns: 0, body }
    }

    fn numbers(records: &[Arc<Record>]) -> Vec<u64> {
        let number = |record: &Arc<Record>| match &record.body {
            RecordBody::Lost(event) => event.lost,
            other => panic!("{other:?}"),
        };
        records.iter().map(number).collect()
    }

    #[tokio::test]
    async fn what_finds_no_room_is_counted_and_told_in_its_place() {
        let (mut follower, mut following) = follower(Topic::Refusals, None, Filter::default());
        for number in 0..WAITING as u64 + 3 {
            follower.give(&Arc::new(record(number)), |_| panic!("nothing is lost yet, or there is no room"));
        }
        assert!(!follower.tell_loss(record), "no room");
        assert_eq!(numbers(&following.next(WAITING).await).len(), WAITING);
        follower.give(&Arc::new(record(77)), record);
        assert_eq!(numbers(&following.next(9).await), [3, 77]);
        assert!(follower.tell_loss(|_| panic!("told already")));
    }

    #[tokio::test]
    async fn who_has_joined_was_taken_in() {
        let (followers, mut joined) = followers();
        let joining =
            tokio::spawn(async move { followers.join(Topic::Refusals, None, Filter::default()).await });
        let mut follower = joined.recv().await.expect("a follower");
        tokio::task::yield_now().await;
        assert!(!joining.is_finished(), "it waits to be taken in");
        follower.welcome();
        assert!(joining.await.expect("no panic").is_some());
        drop(joined);
        let (followers, joined) = self::followers();
        drop(joined);
        assert!(followers.join(Topic::Refusals, None, Filter::default()).await.is_none(), "nobody is there");
    }

    #[tokio::test]
    async fn the_end_of_either_side_shows_on_the_other() {
        let (follower, mut following) = follower(Topic::Refusals, None, Filter::default());
        assert!(!follower.is_gone());
        drop(follower);
        assert!(following.next(1).await.is_empty());
        let (follower, following) = self::follower(Topic::Refusals, None, Filter::default());
        drop(following);
        assert!(follower.is_gone());
    }

    #[tokio::test]
    async fn a_signal_nobody_wants_does_not_wait() {
        let signal = |port: u16| {
            let event = serde_json::json!({
                "signal": "join_refused", "severity": "warning", "protocol": "tcp", "address": "::", "port": port,
                "netns": 1, "netns_name": "host", "parties": [], "since": "", "until": null, "found": false, "seen": "",
            });
            let body = RecordBody::Signal(serde_json::from_value(event).expect("a signal"));
            Arc::new(Record {
                schema: SCHEMA,
                r#type: body.kind(),
                time: String::new(),
                boottime_ns: 0,
                body,
            })
        };
        let filter = Filter { ports: vec![80], ..Filter::default() };
        let (mut follower, mut following) = follower(Topic::Signals, None, filter);
        for port in [79, 80, 81] {
            follower.give(&signal(port), |_| panic!("nothing is lost"));
        }
        drop(follower);
        assert_eq!(following.next(9).await, [signal(80)]);
    }
}
