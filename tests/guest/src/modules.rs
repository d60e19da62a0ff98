//! Kernel modules: what a usual system loads by itself when it is first asked for is loaded here before the tests, as
//! there is nothing that would.

use std::{fs, io, os::fd::AsRawFd as _, path::Path};

use anyhow::{Context as _, Result};

/// The modules of this kernel, named so that each comes after those it needs; written by the other side.
const FOLDER: &str = "/modules";
/// `MODULE_INIT_COMPRESSED_FILE` (include/uapi/linux/module.h): the kernel unpacks it.
const COMPRESSED: libc::c_int = 4;

/// Loads every module there is. A kernel that is locked down refuses them, which is said.
///
/// # Errors
/// If there is no such folder.
pub(crate) fn load() -> Result<()> {
    let mut files: Vec<_> =
        fs::read_dir(FOLDER).context(FOLDER)?.collect::<io::Result<_>>().context(FOLDER)?;
    files.sort_by_key(fs::DirEntry::file_name);
    for file in files {
        if let Err(error) = load_one(&file.path()) {
            println!("init: module {}: {error}", file.path().display());
        }
    }
    Ok(())
}

fn load_one(path: &Path) -> io::Result<()> {
    let file = fs::File::open(path)?;
    let flags = if path.extension().is_some_and(|extension| extension == "ko") { 0 } else { COMPRESSED };
    // SAFETY: the descriptor is open through the call, and the parameters are an empty string that lives as long.
    let outcome = unsafe { libc::syscall(libc::SYS_finit_module, file.as_raw_fd(), c"".as_ptr(), flags) };
    if outcome == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
