//! Maps the command line to a command, and what comes of it to an exit status.

use std::process::ExitCode;

use reuse_daemon::{
    cli::{Arguments, Command},
    commands,
};

fn main() -> ExitCode {
    let arguments = Arguments::from_process();
    match &arguments.command {
        Command::Run(run) => commands::run::main(run, arguments.color),
        Command::Explain(explain) => commands::explain::main(explain, arguments.color),
        Command::Sockets(sockets) => commands::sockets::main(sockets),
        Command::Groups(groups) => commands::groups::main(groups, arguments.color),
        Command::Conflicts(conflicts) => commands::conflicts::main(conflicts, arguments.color),
        Command::Signals(signals) => commands::signals::main(signals, arguments.color),
        Command::Check(check) => commands::check::main(check, arguments.color),
        Command::Doctor(doctor) => commands::doctor::main(doctor),
    }
}
