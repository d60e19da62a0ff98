//! One virtual machine: what is put into it, and what came of it.

use std::{
    collections::BTreeSet,
    fs::{self, File},
    io::{BufWriter, Write as _},
    path::Path,
};

use anyhow::{Context as _, Result};

use crate::{
    setup::kernels::Kernel,
    support::results::{Outcome, Results, Verdict},
    test::suite::{self, TestBinary},
    vm::{
        initramfs::{self, Entry},
        qemu::{self, Boot, Ending},
        userland,
        variant::{Selection, Variant},
        verdict::{Console, Said},
    },
    workspace::Workspace,
};

/// The differential test of the rulebook is no test binary but a program by itself (tests/guest/src/suite.rs).
const DIFFERENTIAL: &str = "rules::differential";

/// Its test waits a minute however fast the machine is: it goes first, while others have the processors.
const WAITS_LONGEST: &str = "signals_minute";

/// What the first machine of a variant is asked before any test (tests/guest/src/main.rs).
const DOCTOR: &str = "doctor";

/// What was built for every machine.
#[derive(Debug)]
pub(crate) struct Built<'a> {
    /// The daemon under test.
    pub(crate) daemon: &'a Path,
    /// The fuzzer of the rulebook.
    pub(crate) fuzzer: &'a Path,
    /// The end-to-end suite.
    pub(crate) tests: &'a [TestBinary],
}

/// The files every machine is given, and the tests there are.
#[derive(Debug)]
pub(crate) struct Files {
    entries: BTreeSet<Entry>,
    binaries: Vec<(String, Entry)>,
    tests: Vec<String>,
}

impl Files {
    /// Collects them; copies that had to be made are left in `folder`.
    ///
    /// # Errors
    /// If a program is missing or a test binary lists nothing.
    pub(crate) fn collect(
        workspace: &Workspace,
        built: &Built<'_>,
        guest: &Path,
        folder: &Path,
    ) -> Result<Self> {
        let mut entries = userland::collect()?;
        let programs = [("init", guest), ("reuse-daemon", built.daemon), ("reuse-fuzz-rules", built.fuzzer)];
        entries.extend(programs.map(|(path, program)| Entry::copy(path, program)));
        let copies = folder.join("tests");
        fs::create_dir_all(&copies).with_context(|| format!("cannot make {}", copies.display()))?;
        // First what takes longest, so that no machine is left alone with it in the end.
        let (mut binaries, mut tests) = (Vec::new(), vec![DIFFERENTIAL.to_owned()]);
        let mut end_to_end: Vec<_> = built.tests.iter().filter(|binary| binary.end_to_end).collect();
        end_to_end.sort_by_key(|binary| {
            (binary.name != WAITS_LONGEST, !hands_a_daemon_on(workspace, &binary.name))
        });
        for binary in end_to_end {
            let name = &binary.name;
            let small = suite::stripped(&binary.path, &copies.join(name))?;
            binaries.push((name.clone(), Entry::copy(format!("tests/{name}"), small)));
            tests.extend(binary.tests()?.into_iter().map(|test| format!("{name}::{test}")));
        }
        Ok(Self { entries, binaries, tests })
    }

    /// The tests of a variant, of which `only` leaves those whose name contains it.
    pub(crate) fn plan(&self, selection: Selection, only: &str) -> Vec<String> {
        self.tests.iter().filter(|test| selection.contains(test) && test.contains(only)).cloned().collect()
    }

    /// Writes the initial file system of a machine that may run any of these tests.
    fn write(&self, archive: &Path, plan: &[String], kernel: &Kernel) -> Result<()> {
        let modules = kernel.modules.iter().enumerate().filter_map(|(number, module)| {
            let name = module.file_name()?.to_string_lossy();
            Some(Entry::copy(format!("modules/{number:02}-{name}"), module))
        });
        let modules: Vec<Entry> = modules.collect();
        let wanted =
            |binary: &str| plan.iter().any(|test| test.split_once("::").is_some_and(|(of, _)| of == binary));
        let binaries = self.binaries.iter().filter(|(name, _)| wanted(name)).map(|(_, entry)| entry);
        initramfs::write(archive, self.entries.iter().chain(binaries).chain(&modules))
    }
}

/// Whether tests of a file take the usual daemon over from each other (tests/src/daemon/shared.rs). Those are run together:
/// any other test ends it.
fn hands_a_daemon_on(workspace: &Workspace, name: &str) -> bool {
    let source = workspace.root.join("tests/tests").join(name).with_extension("rs");
    fs::read_to_string(source).is_ok_and(|source| source.contains("Daemon::shared(&[])"))
}

/// A virtual machine about to be booted.
#[derive(Debug)]
pub(crate) struct Machine<'a> {
    /// The emulator.
    pub(crate) qemu: &'a Path,
    /// What it is.
    pub(crate) variant: &'static Variant,
    /// The kernel on this machine.
    pub(crate) kernel: Kernel,
    /// Which of the variant's machines it is, from 0: the first is asked what the daemon says of the kernel.
    pub(crate) number: usize,
    /// The tests of the variant.
    pub(crate) plan: &'a [String],
}

impl Machine<'_> {
    /// Boots it, lets it run tests until `next` has none, shows each verdict as it is given, and leaves its console in
    /// `folder`. Gives also whether it came to a regular end.
    ///
    /// # Errors
    /// If it cannot be prepared or QEMU cannot be run. Whatever happens inside is a verdict.
    pub(crate) fn run(
        &self,
        files: &Files,
        folder: &Path,
        next: impl Fn() -> Option<String>,
    ) -> Result<(Results, bool)> {
        let Variant { name, parameters, processors, .. } = *self.variant;
        let file = format!("{name}-{}", self.number + 1);
        let archive = folder.join(format!("{file}.cpio"));
        files.write(&archive, self.plan, &self.kernel)?;
        println!("xtask: booting {} {parameters} under emulation", self.kernel.package);
        let log = folder.join(format!("{file}.log"));
        let mut writer =
            BufWriter::new(File::create(&log).with_context(|| format!("cannot write {}", log.display()))?);
        let mut console = Console::default();
        let mut asked = (self.number == 0).then(|| DOCTOR.to_owned());
        let (mut said, mut unwritten) = (Vec::new(), None);
        let boot = Boot { kernel: &self.kernel.image, initramfs: &archive, parameters, processors };
        let ending = qemu::boot(self.qemu, boot, |line| {
            if let Err(error) = writeln!(writer, "{line}").and_then(|()| writer.flush()) {
                unwritten = Some(error);
            }
            said.push(line.to_owned());
            match console.feed(line)? {
                Said::Verdict(outcome) => {
                    show(name, outcome, &said);
                    said.clear();
                    None
                }
                Said::Next => Some(asked.take().unwrap_or_else(|| {
                    let test = next().unwrap_or_default();
                    if !test.is_empty() {
                        console.give(test.clone());
                    }
                    test
                })),
            }
        })?;
        if let Some(error) = unwritten {
            return Err(error).with_context(|| format!("cannot write {}", log.display()));
        }
        fs::remove_file(&archive).with_context(|| format!("cannot remove {}", archive.display()))?;
        let judged = console.judged();
        let conclusion = console.conclude(ending);
        let regularly = ending == Ending::Exited && conclusion.outcomes.len() == judged;
        for outcome in conclusion.outcomes.iter().skip(judged) {
            show(name, outcome, &said);
            said.clear();
        }
        let results = Results {
            machine: name.to_owned(),
            parameters: parameters.to_owned(),
            kernel: conclusion.kernel.unwrap_or_else(|| (*name).to_owned()),
            findings: conclusion.findings,
            tests: conclusion.outcomes,
        };
        println!("vm {file}: {} (console in {})", results.tally(), log.display());
        Ok((results, regularly))
    }
}

/// The failures of tests for which no machine was left.
pub(crate) fn unrun(variant: &Variant, tests: &[String]) -> Results {
    let failures =
        tests.iter().map(|test| Outcome::failure(test, "no machine was left to run it".to_owned()));
    let tests: Vec<_> = failures.inspect(|failure| show(variant.name, failure, &[])).collect();
    Results {
        machine: variant.name.to_owned(),
        parameters: variant.parameters.to_owned(),
        kernel: variant.name.to_owned(),
        findings: Vec::new(),
        tests,
    }
}

/// One line, and before a failure what the console said since the verdict before.
fn show(machine: &str, outcome: &Outcome, said: &[String]) {
    let Outcome { test, verdict, why, seconds } = outcome;
    match verdict {
        Verdict::Pass => {
            let smaller = if why.is_empty() { String::new() } else { format!("; smaller here: {why}") };
            println!("vm {machine} {test} ... ok ({:.1} s{smaller})", seconds.unwrap_or_default());
        }
        Verdict::Skip => println!("SKIP vm {machine} {test}: {why}"),
        Verdict::Fail => {
            // Several machines speak at a time: what belongs together is written together.
            let said = said.iter().filter(|line| !line.starts_with(r#"{""#));
            let said: Vec<String> =
                said.map(|line| format!("  {machine} | {}\n", line.replace(char::is_control, ""))).collect();
            println!("{}vm {machine} {test} ... FAILED: {why}", said.concat());
        }
    }
}
