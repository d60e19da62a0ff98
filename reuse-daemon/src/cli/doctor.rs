//! Arguments of `doctor`.

use std::path::PathBuf;

use clap::Args;

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

    /// Read kernel types from this file instead of /sys/kernel/btf/vmlinux
    #[arg(long = "btf.path", env = "REUSE_BTF_PATH", value_name = "FILE")]
    pub btf_path: Option<PathBuf>,
}
