//! Arguments of `doctor`.

use std::path::PathBuf;

use clap::Args;

use crate::kernel::capabilities::Capability;

/// Arguments of `doctor`.
#[derive(Clone, Debug, Args)]
#[command(after_help = "Exit status: 0 all tiers, 1 some missing, 2 cannot run\n\n\
    Examples:\n  \
    sudo reuse-daemon doctor\n  \
    sudo reuse-daemon doctor --json")]
pub struct DoctorArguments {
    /// Print one JSON object instead of text
    #[arg(long)]
    pub json: bool,

    /// Look as if this kernel had not this capability (repeatable); a wrong name lists the right ones
    #[arg(
        long = "trace.avoid",
        env = "REUSE_TRACE_AVOID",
        value_name = "CAPABILITY",
        value_delimiter = ',',
        value_parser = str::parse::<Capability>
    )]
    pub trace_avoid: Vec<Capability>,

    /// Read kernel types from this file, not from where they usually are (/sys/kernel/btf/vmlinux, /boot)
    #[arg(long = "btf.path", env = "REUSE_BTF_PATH", value_name = "FILE")]
    pub btf_path: Option<PathBuf>,
}
