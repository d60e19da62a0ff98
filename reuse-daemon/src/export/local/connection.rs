//! One client: its request, its answer.

use std::{io, sync::Arc, time::Duration};

use reuse_model::report::{ExperimentList, ExperimentReport, Record, SCHEMA};
use serde::Serialize;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{
        UnixStream,
        unix::{ReadHalf, WriteHalf},
    },
    task::spawn_blocking,
    time::timeout,
};

use super::{
    command_lines::{self, ShowsProcesses},
    protocol::{Begun, Failure, Latest, REQUEST_LIMIT, Request},
};
use crate::{
    clock::Clock,
    owner::command_lines::CommandLines,
    query::{
        Asker,
        follow::{Followers, Following, Topic},
        local::{LocalAnswer, LocalQuery},
    },
    test_group::Experiments,
};

/// How long a client may take over its request.
const REQUEST_TIME: Duration = Duration::from_secs(2);
/// How long a client may take to read a document.
const ANSWER_TIME: Duration = Duration::from_secs(30);
/// Most records of one turn of a follower: what is read once for all of them is read once.
const BATCH: usize = 256;

/// Where answers come from.
#[derive(Clone, Debug)]
pub struct Sources {
    /// The tracer
    pub tracer: Asker<LocalQuery, LocalAnswer>,
    /// The way to follow
    pub followers: Followers,
    /// What the tracer leaves out
    pub command_lines: CommandLines,
    /// The way to experiments, where there is a test group
    pub experiments: Option<Experiments>,
}

/// Serves one client to its end.
pub(super) async fn serve(mut stream: UnixStream, sources: &Sources) {
    let (mut requests, mut answers) = stream.split();
    let request = match timeout(REQUEST_TIME, read_request(&mut requests)).await {
        Ok(request) => request,
        Err(_) => Err(format!("no request came within {} s", REQUEST_TIME.as_secs())),
    };
    let served = match request {
        Ok(Request::Conflicts(asked @ Latest { follow: true, .. })) => {
            begin(Topic::Refusals, asked, sources, &mut requests, &mut answers).await
        }
        Ok(Request::Signals(asked @ Latest { follow: true, .. })) => {
            begin(Topic::Signals, asked, sources, &mut requests, &mut answers).await
        }
        Ok(request) => send(&mut answers, &document(request, sources).await.unwrap_or_else(failure)).await,
        Err(why) => send(&mut answers, &failure(why)).await,
    };
    if let Err(error) = served {
        // A client's doing.
        log::debug!("local socket: {error}");
    }
}

/// Says to a client that is not served why. It fits the buffer of a new connection, so it takes no time.
pub(super) async fn turn_away(mut stream: UnixStream, why: String) {
    let (_, mut answers) = stream.split();
    if let Err(error) = send(&mut answers, &failure(why)).await {
        log::debug!("local socket: {error}");
    }
}

/// A request, or what is wrong with it.
async fn read_request(stream: &mut ReadHalf<'_>) -> Result<Request, String> {
    let mut bytes = Vec::with_capacity(256);
    let line = loop {
        let read = stream.take((REQUEST_LIMIT - bytes.len()) as u64).read_buf(&mut bytes).await;
        let end = bytes.iter().position(|byte| *byte == b'\n');
        match (read, end.and_then(|end| bytes.get(..end))) {
            (_, Some(line)) => break line,
            (Err(error), None) => return Err(format!("cannot read the request: {error}")),
            (Ok(_), None) if bytes.len() >= REQUEST_LIMIT => {
                return Err(format!("the request is longer than {REQUEST_LIMIT} bytes"));
            }
            (Ok(0), None) => return Err("the request has no end: send one line of JSON".to_owned()),
            (Ok(_), None) => {}
        }
    };
    serde_json::from_slice(line).map_err(|error| format!("not a request this daemon knows: {error}"))
}

/// The document asked for, or why there is none.
async fn document(request: Request, sources: &Sources) -> Result<Vec<u8>, String> {
    let (query, wants_lines) = match request {
        Request::Sockets { command_lines } => (LocalQuery::Sockets, command_lines),
        Request::Groups { command_lines } => (LocalQuery::Groups, command_lines),
        Request::Status {} => (LocalQuery::Status, false),
        Request::TestGroup {} => (LocalQuery::TestGroup, false),
        Request::Experiment {} => return experiment(sources.experiments.as_ref()).await,
        Request::Conflicts(asked) => (LocalQuery::Conflicts { within: asked.within() }, asked.command_lines),
        Request::Signals(asked) => (LocalQuery::Signals { within: asked.within() }, asked.command_lines),
    };
    let lines = wants_lines.then_some(&sources.command_lines);
    match sources.tracer.ask(query).await.map_err(|error| error.to_string())? {
        LocalAnswer::Sockets(list) => complete(list, lines).await,
        LocalAnswer::Groups(list) => complete(list, lines).await,
        LocalAnswer::Conflicts(list) => complete(list, lines).await,
        LocalAnswer::Signals(list) => complete(list, lines).await,
        LocalAnswer::Status(report) => json(report).await,
        LocalAnswer::TestGroup(list) => json(list).await,
        LocalAnswer::Unavailable(why) => Err(why),
    }
}

/// What becomes of the flows of the daemon's own groups when members come and go.
async fn experiment(experiments: Option<&Experiments>) -> Result<Vec<u8>, String> {
    let experiments =
        experiments.ok_or("this daemon has no test group: it runs with --test-group.enable=false")?;
    let done = experiments.ask().await?;
    let clock = Clock::default();
    let report = |one| ExperimentReport::new(one, clock.rfc3339(one.at));
    json(Arc::new(ExperimentList { schema: SCHEMA, experiments: done.iter().map(report).collect() })).await
}

/// The JSON of a report, with command lines where they are wanted.
async fn complete<T>(mut report: Arc<T>, lines: Option<&CommandLines>) -> Result<Vec<u8>, String>
where
    T: ShowsProcesses + Clone + Serialize + Send + Sync + 'static,
{
    if let Some(lines) = lines {
        command_lines::add(Arc::make_mut(&mut report), lines).await;
    }
    json(report).await
}

/// Made elsewhere: tens of thousands of sockets take longer than events may wait.
async fn json<T: Serialize + Send + Sync + 'static>(report: Arc<T>) -> Result<Vec<u8>, String> {
    let made = spawn_blocking(move || serde_json::to_vec(&*report)).await;
    let made = made.map_err(|error| error.to_string())?;
    made.map_err(|error| format!("cannot render the answer: {error}"))
}

fn failure(error: String) -> Vec<u8> {
    // A number and a string always become JSON.
    serde_json::to_vec(&Failure { schema: SCHEMA, error }).unwrap_or_default()
}

async fn send(stream: &mut WriteHalf<'_>, document: &[u8]) -> io::Result<()> {
    let sent = timeout(ANSWER_TIME, async {
        stream.write_all(document).await?;
        stream.write_all(b"\n").await?;
        stream.shutdown().await
    });
    sent.await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}

/// Begins to follow.
async fn begin(
    topic: Topic,
    asked: Latest,
    sources: &Sources,
    requests: &mut ReadHalf<'_>,
    answers: &mut WriteHalf<'_>,
) -> io::Result<()> {
    match sources.followers.join(topic, asked.within(), *asked.filter).await {
        Some(following) => {
            let lines = asked.command_lines.then_some(&sources.command_lines);
            follow(following, lines, requests, answers).await
        }
        None => send(answers, &failure("the daemon is stopping".to_owned())).await,
    }
}

/// Sends each record as it comes. One that stops reading may do so: what it misses is counted, and nobody else waits.
async fn follow(
    mut following: Following,
    lines: Option<&CommandLines>,
    requests: &mut ReadHalf<'_>,
    answers: &mut WriteHalf<'_>,
) -> io::Result<()> {
    let mut batch = serde_json::to_vec(&Begun { schema: SCHEMA, r#type: Begun::TYPE.to_owned() })?;
    batch.push(b'\n');
    let mut ignored = [0; 64];
    loop {
        answers.write_all(&batch).await?;
        batch.clear();
        let records = tokio::select! {
            records = following.next(BATCH) => records,
            // Its end means that nobody reads any more.
            read = requests.read(&mut ignored) => match read? {
                0 => return Ok(()),
                _ => continue,
            },
        };
        if records.is_empty() {
            return answers.shutdown().await;
        }
        append(records, lines, &mut batch).await?;
    }
}

async fn append(
    records: Vec<Arc<Record>>,
    lines: Option<&CommandLines>,
    batch: &mut Vec<u8>,
) -> io::Result<()> {
    let mut records: Vec<Record> = records.into_iter().map(Arc::unwrap_or_clone).collect();
    if let Some(lines) = lines {
        command_lines::add(&mut records, lines).await;
    }
    for record in records {
        serde_json::to_writer(&mut *batch, &record)?;
        batch.push(b'\n');
    }
    Ok(())
}
