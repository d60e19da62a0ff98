//! A Go server that is replaced without a gap: the next process listens beside the one before, which then ends.

use std::{net::Ipv4Addr, time::Duration};

use anyhow::Result;

use super::{
    load::{under_load, words},
    stage::{Played, Stage},
};
use crate::servers::{Caddy, Program};

const PORT: u16 = 8080;
/// How long one serves alone: more than what may be between two generations that belong together.
const ALONE: Duration = Duration::from_millis(2500);
/// How long two serve together.
const TOGETHER: Duration = Duration::from_secs(1);

pub(super) fn play(stage: &Stage) -> Result<Played> {
    let [program] = match Program::available(["caddy"]) {
        Ok(program) => program,
        Err(why) => return Ok(Played::LeftOut(why)),
    };
    let namespace = stage.namespace("caddy")?;
    let address = (Ipv4Addr::LOCALHOST, PORT).into();
    let start = |number| {
        let mut caddy = Caddy::start(&program, &namespace, address, number)?;
        caddy.until_listening(PORT)?;
        anyhow::Ok(caddy)
    };
    let mut serving = start(0)?;
    let (generations, load) = under_load(&namespace, &[address], || {
        for number in 1.. {
            stage.pause(ALONE);
            if stage.is_over() {
                return Ok(number);
            }
            let next = start(number)?;
            stage.pause(TOGETHER);
            std::mem::replace(&mut serving, next).end()?;
        }
        Ok(usize::MAX)
    })?;
    serving.end()?;
    Ok(Played::Done(format!("{generations} generations, {}", words(load))))
}
