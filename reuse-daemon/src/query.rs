//! The boundary between those who are asked by others and the tracer, which knows.
//!
//! The web side, which is reached by anyone, can only ask one of a few typed questions, without parameters, and gets a
//! rendered answer back. It knows nothing of the model; the tracer knows nothing of HTTP requests. The local socket,
//! which is reached by the operator alone, has a boundary of its own with questions of its own: no crowd on the web
//! side keeps it waiting, and no question of the web side shows paths or command lines. Questions of one kind that
//! wait together get one answer, so that a crowd of clients costs the tracer one answer.

pub mod follow;
pub mod local;

use std::{collections::VecDeque, time::Duration};

use bytes::Bytes;
use tokio::{
    sync::{mpsc, oneshot},
    time::timeout,
};

/// Questions that may wait for the tracer; more are turned away.
const WAITING: usize = 64;
/// How long a question may wait for its answer: below the 10 s in which a Prometheus scrape times out by default.
const DEADLINE: Duration = Duration::from_secs(8);

/// What the web side may ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Query {
    /// All metrics, Prometheus text format
    Metrics,
    /// Whether the tracer's loop still turns
    Healthy,
    /// Whether all planned programs are attached and the snapshot is in
    Ready,
    /// The landing page
    Landing,
    /// Every bound socket
    Sockets,
    /// Every SO_REUSEPORT group
    Groups,
    /// The latest refusals
    Conflicts,
    /// The active signals and the latest that ended
    Signals,
    /// The test group
    TestGroup,
    /// What the daemon sees and what it does not
    Status,
}

/// What an answer's body is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Content {
    /// Prometheus text format
    Metrics,
    /// JSON
    Json,
    /// HTML
    Html,
    /// Plain text
    Text,
}

/// A rendered answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// False: the answer is "no" or "not yet", which HTTP says with 503
    pub available: bool,
    /// What the body is
    pub content: Content,
    /// The body
    pub body: Bytes,
}

impl Answer {
    /// An answer that says "yes", or what was asked for.
    pub fn new(content: Content, body: impl Into<Bytes>) -> Self {
        Self { available: true, content, body: body.into() }
    }

    /// An answer that says "no" or "not yet", in words.
    pub fn unavailable(why: impl Into<Bytes>) -> Self {
        Self { available: false, content: Content::Text, body: why.into() }
    }
}

/// Why there is no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unanswered {
    /// Too many questions wait already
    #[error("too many requests wait for the tracer; try again")]
    Busy,
    /// The tracer did not answer in time
    #[error("the tracer did not answer within {} s", DEADLINE.as_secs())]
    Late,
    /// The tracer stops
    #[error("the tracer is stopping")]
    Stopping,
}

/// A question on its way.
#[derive(Debug)]
struct Request<Q, A> {
    query: Q,
    reply: oneshot::Sender<A>,
}

/// The end of those who ask.
#[derive(Debug)]
pub struct Asker<Q = Query, A = Answer> {
    requests: mpsc::Sender<Request<Q, A>>,
}

impl<Q, A> Clone for Asker<Q, A> {
    fn clone(&self) -> Self {
        Self { requests: self.requests.clone() }
    }
}

/// The tracer's end.
#[derive(Debug)]
pub struct Questions<Q = Query, A = Answer> {
    requests: mpsc::Receiver<Request<Q, A>>,
    /// In the order in which each kind was first asked, so that no kind keeps another waiting
    waiting: VecDeque<Asked<Q, A>>,
}

/// One kind of question and everyone who waits for its answer.
#[derive(Debug)]
#[must_use = "those who asked wait until it is answered or dropped"]
pub struct Asked<Q = Query, A = Answer> {
    /// What was asked
    pub query: Q,
    replies: Vec<oneshot::Sender<A>>,
}

/// Both ends of a boundary.
#[must_use]
pub fn boundary<Q, A>() -> (Asker<Q, A>, Questions<Q, A>) {
    let (sender, receiver) = mpsc::channel(WAITING);
    (Asker { requests: sender }, Questions { requests: receiver, waiting: VecDeque::new() })
}

impl<Q, A> Asker<Q, A> {
    /// Asks, and waits for the answer until the deadline.
    ///
    /// # Errors
    /// When too many wait, when the deadline passes, when the tracer is gone.
    pub async fn ask(&self, query: Q) -> Result<A, Unanswered> {
        let (reply, answer) = oneshot::channel();
        self.requests.try_send(Request { query, reply }).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => Unanswered::Busy,
            mpsc::error::TrySendError::Closed(_) => Unanswered::Stopping,
        })?;
        match timeout(DEADLINE, answer).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(_)) => Err(Unanswered::Stopping),
            Err(_) => Err(Unanswered::Late),
        }
    }
}

impl<Q: Copy + PartialEq, A> Questions<Q, A> {
    /// The next kind of question, with all who asked it up to now; `None` when no one can ask any more.
    ///
    /// Cancel safe: a question is lost with the whole of `self` only.
    pub async fn next(&mut self) -> Option<Asked<Q, A>> {
        loop {
            while let Ok(request) = self.requests.try_recv() {
                self.add(request);
            }
            if let Some(asked) = self.waiting.pop_front() {
                return Some(asked);
            }
            let request = self.requests.recv().await?;
            self.add(request);
        }
    }

    fn add(&mut self, request: Request<Q, A>) {
        if request.reply.is_closed() {
            return;
        }
        match self.waiting.iter_mut().find(|asked| asked.query == request.query) {
            Some(asked) => asked.replies.push(request.reply),
            None => self.waiting.push_back(Asked { query: request.query, replies: vec![request.reply] }),
        }
    }
}

impl<Q, A: Clone> Asked<Q, A> {
    /// Gives everyone who still waits the answer. What is large in it is shared, not copied.
    pub fn answer(self, answer: &A) {
        for reply in self.replies {
            // Who asked may have gone away meanwhile.
            let _ = reply.send(answer.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(word: &'static str) -> Answer {
        Answer::new(Content::Text, word)
    }

    #[tokio::test]
    async fn questions_of_one_kind_share_an_answer() {
        let (asker, mut questions) = boundary::<Query, Answer>();
        let tracer = async {
            let asked = questions.next().await.expect("askers live");
            let waited = asked.replies.len();
            asked.answer(&text("yes"));
            waited
        };
        // `biased`: the askers are polled before the tracer, so both questions wait when it looks.
        let (one, two, waited) = tokio::join!(
            biased;
            asker.ask(Query::Metrics),
            asker.ask(Query::Metrics),
            tracer,
        );
        assert_eq!((one, two, waited), (Ok(text("yes")), Ok(text("yes")), 2));
    }

    #[tokio::test]
    async fn waiting_questions_are_gathered_in_the_order_of_their_kinds() {
        let (asker, mut questions) = boundary::<Query, Answer>();
        let mut replies = Vec::new();
        for query in [Query::Metrics, Query::Ready, Query::Metrics] {
            let (reply, answer) = oneshot::channel();
            asker.requests.try_send(Request { query, reply }).expect("room");
            replies.push(answer);
        }
        let first = questions.next().await.expect("asked");
        assert_eq!((first.query, first.replies.len()), (Query::Metrics, 2));
        let second = questions.next().await.expect("asked");
        assert_eq!((second.query, second.replies.len()), (Query::Ready, 1));
    }

    #[tokio::test]
    async fn an_abandoned_question_is_passed_over() {
        let (asker, mut questions) = boundary::<Query, Answer>();
        let (reply, answer) = oneshot::channel();
        asker.requests.try_send(Request { query: Query::Metrics, reply }).expect("room");
        drop(answer);
        let (reply, _answer) = oneshot::channel();
        asker.requests.try_send(Request { query: Query::Status, reply }).expect("room");
        assert_eq!(questions.next().await.expect("asked").query, Query::Status);
        drop(asker);
        assert!(questions.next().await.is_none());
    }

    #[tokio::test]
    async fn more_than_may_wait_are_turned_away() {
        let (asker, questions) = boundary::<Query, Answer>();
        let mut answers = Vec::new();
        for _ in 0..WAITING {
            let (reply, answer) = oneshot::channel();
            asker.requests.try_send(Request { query: Query::Metrics, reply }).expect("room");
            answers.push(answer);
        }
        assert_eq!(asker.ask(Query::Healthy).await, Err(Unanswered::Busy));
        drop(questions);
        assert_eq!(asker.ask(Query::Healthy).await, Err(Unanswered::Stopping));
    }

    #[tokio::test(start_paused = true)]
    async fn a_tracer_that_hangs_is_not_waited_for() {
        let (asker, _questions) = boundary::<Query, Answer>();
        assert_eq!(asker.ask(Query::Healthy).await, Err(Unanswered::Late));
    }
}
