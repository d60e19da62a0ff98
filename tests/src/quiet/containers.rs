//! Containers, each with namespaces of its own and a server on the same port, one of which is made anew now and then.

use std::{
    io::{Read as _, Write as _},
    net::{Ipv4Addr, TcpStream},
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};

use super::stage::{Played, Stage};
use crate::{actor::Actor, deadline, namespace};

const PORT: u16 = 80;
const CONTAINERS: usize = 4;

/// Serves on both protocols, as a container that has its port to itself.
const SERVE: &str = "
import threading
def serve():
    while True:
        connection, _ = web.accept()
        connection.sendall(connection.recv(64))
        connection.close()
web = listening('0.0.0.0', 80, RA)
names = bound('::', 80, kind=SOCK_DGRAM)
threading.Thread(target=serve, daemon=True).start()
";

pub(super) fn play(stage: &Stage) -> Result<Played> {
    let start = |number: usize| {
        let mut container = Actor::start_contained(&format!("server-{number}"))?;
        stage.enclose(container.beside(namespace::inode)?);
        container.run(SERVE)?;
        anyhow::Ok(container)
    };
    let mut containers = (0..CONTAINERS).map(start).collect::<Result<Vec<_>>>()?;
    let (mut asked, mut made) = (0_u64, CONTAINERS);
    while !stage.is_over() {
        for _ in 0..10 {
            for container in &containers {
                container.beside(ask)?;
                asked += 1;
            }
            stage.pause(Duration::from_millis(100));
        }
        containers.remove(0).end();
        containers.push(start(made)?);
        made += 1;
    }
    Ok(Played::Done(format!("{made} containers, {asked} answers")))
}

fn ask() -> Result<()> {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, PORT)).context("connecting")?;
    stream.set_read_timeout(Some(deadline::scaled(deadline::PROMPT)))?;
    stream.write_all(b"anyone?")?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).context("waiting for the answer")?;
    ensure!(answer == b"anyone?", "another answer");
    Ok(())
}
