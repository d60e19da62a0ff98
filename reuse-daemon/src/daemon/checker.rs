//! Has `check` try the claims, at the start and once a day, in a process of its own.
//!
//! That process says in which network namespace it will work and waits: what happens there must be known as the daemon's
//! own before it happens. It ends with the daemon, and yields the processor to everyone else.

use std::{fs::File, io, process::Stdio, time::Duration};

use anyhow::Context as _;
use nix::sys::{prctl, signal::Signal};
use reuse_model::{claim::CheckReport, socket::NetNs};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncRead, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    process::{Child, Command},
    sync::{mpsc, oneshot},
    time::{sleep, timeout},
};

/// From one run to the next
const DAILY: Duration = Duration::from_secs(24 * 60 * 60);
/// Longest that a run may take; it is done in a second where the machine is idle
const LONGEST: Duration = Duration::from_secs(300);
/// How long calls may be settled after the end, where the kernel tells no results
const SETTLED: Duration = Duration::from_secs(2);
/// Most bytes that are read of what it says
const REPORT_MAX: u64 = 1 << 20;
/// Least share of the processor there is
const NICENESS: i32 = 19;

/// What the tracer is told; nothing goes on before it has heard.
pub(super) struct Notice {
    pub(super) what: What,
    pub(super) heard: oneshot::Sender<()>,
}

/// What happens.
pub(super) enum What {
    /// A process is about to try claims in this network namespace, where nobody else is
    Begins(NetNs),
    /// It is over, with what it found if it found anything
    Ended(Option<CheckReport>),
}

/// Runs for ever, from the moment on that `ready` tells.
pub(super) async fn run(ready: oneshot::Receiver<()>, notices: mpsc::Sender<Notice>) {
    if ready.await.is_err() {
        return;
    }
    loop {
        let mut namespace = None;
        let report = try_claims(&notices, &mut namespace).await;
        let report = report
            .inspect_err(|error| log::warn!("the claims about socket options were not tried: {error:#}"))
            .ok();
        sleep(SETTLED).await;
        if tell(&notices, What::Ended(report)).await.is_err() {
            return;
        }
        // Until now nobody else could be given its number.
        drop(namespace);
        sleep(DAILY).await;
    }
}

async fn try_claims(
    notices: &mpsc::Sender<Notice>,
    namespace: &mut Option<File>,
) -> anyhow::Result<CheckReport> {
    let mut child = command().spawn().context("cannot start it")?;
    let report = match timeout(LONGEST, converse(&mut child, notices, namespace)).await {
        Ok(report) => report,
        Err(_) => Err(anyhow::anyhow!("not done after {} s", LONGEST.as_secs())),
    };
    // Whatever came of it: it is gone before anything else happens.
    child.kill().await.context("cannot end it")?;
    let status = child.wait().await.context("cannot tell how it ended")?;
    report.with_context(|| format!("`check` ended ({status})"))
}

fn command() -> Command {
    // Also where the file has another name by now, or none.
    let mut command = Command::new("/proc/self/exe");
    command
        .arg0(env!("CARGO_PKG_NAME"))
        .args(["check", "--json", "--supervised"])
        .env_clear()
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    // SAFETY: between fork and exec, and only system calls.
    unsafe {
        command.pre_exec(|| {
            // Where neither is allowed it runs all the same.
            libc::setpriority(libc::PRIO_PROCESS, 0, NICENESS);
            prctl::set_pdeathsig(Signal::SIGKILL).map_err(io::Error::from)
        });
    }
    command
}

async fn converse(
    child: &mut Child,
    notices: &mpsc::Sender<Notice>,
    namespace: &mut Option<File>,
) -> anyhow::Result<CheckReport> {
    let (Some(mut stdin), Some(stdout), Some(stderr)) =
        (child.stdin.take(), child.stdout.take(), child.stderr.take())
    else {
        anyhow::bail!("it has no pipes");
    };
    let mut stdout = BufReader::new(stdout.take(REPORT_MAX));
    let mut line = String::new();
    let (said, complaint) = tokio::join!(
        async {
            stdout.read_line(&mut line).await?;
            let Ok(number) = line.trim().parse() else { return Ok(String::new()) };
            let pid = child.id().context("it is gone")?;
            *namespace =
                Some(File::open(format!("/proc/{pid}/ns/net")).context("cannot hold its namespace")?);
            tell(notices, What::Begins(NetNs(number))).await?;
            stdin.write_all(b"\n").await?;
            read(&mut stdout).await
        },
        async { read(&mut stderr.take(REPORT_MAX)).await.unwrap_or_default() },
    );
    let said: anyhow::Result<String> = said;
    serde_json::from_str(&said?).with_context(|| match complaint.trim() {
        "" => "it says nothing that can be read".to_owned(),
        complaint => complaint.to_owned(),
    })
}

async fn read(from: &mut (impl AsyncRead + Unpin)) -> anyhow::Result<String> {
    let mut text = String::new();
    from.read_to_string(&mut text).await?;
    Ok(text)
}

async fn tell(notices: &mpsc::Sender<Notice>, what: What) -> anyhow::Result<()> {
    let (heard, hears) = oneshot::channel();
    notices.send(Notice { what, heard }).await.ok().context("the daemon is stopping")?;
    hears.await.context("the daemon is stopping")
}
