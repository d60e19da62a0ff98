//! Where the kernel's types are read from: its own file, or one of the places that distributions keep them in.

use std::{
    fs::{self, File},
    io::{self, Read as _},
    path::{Path, PathBuf},
};

use nix::sys::utsname::uname;
use object::{Object as _, ObjectSection as _, read::ReadCache};
use thiserror::Error;

use super::Btf;

/// The running kernel's own types, since 5.4; absent without CONFIG_DEBUG_INFO_BTF.
pub const OWN: &str = "/sys/kernel/btf/vmlinux";

/// Where else they may be: the places that libbpf looks in.
const ELSEWHERE: [&str; 5] = [
    "/boot/vmlinux-RELEASE",
    "/lib/modules/RELEASE/vmlinux",
    "/lib/modules/RELEASE/build/vmlinux",
    "/usr/lib/debug/boot/vmlinux-RELEASE",
    "/usr/lib/debug/lib/modules/RELEASE/vmlinux",
];

/// Section of an ELF file that holds them.
const SECTION: &str = ".BTF";
const ELF_MAGIC: [u8; 4] = *b"\x7fELF";

const LEAVE_OUT: &str = "leave out --btf.path";
const LEAVE_OUT_OR_RENAME: &str = "leave out --btf.path, or name another file";
const NAME_ANOTHER: &str = "name a file that has this kernel's with --btf.path";
const BOOT_OR_NAME: &str =
    "boot a kernel built with CONFIG_DEBUG_INFO_BTF, or name the file that has it with --btf.path";

/// Why BTF could not be used.
#[derive(Debug, Error)]
pub enum BtfError {
    /// No file
    #[error("cannot read the kernel's type information {}: {reason}; {LEAVE_OUT_OR_RENAME}", path.display())]
    Unreadable {
        /// The file
        path: PathBuf,
        /// Why; in the sentence, and so no cause of its own
        reason: io::Error,
    },
    /// None of the places has it
    #[error(
        "this kernel's type information is neither at {OWN} nor in any of {}: {BOOT_OR_NAME}", searched.join(", ")
    )]
    Nowhere {
        /// The other places
        searched: Vec<String>,
    },
    /// Not BTF
    #[error("{} has no usable type information ({reason}); {NAME_ANOTHER}", path.display())]
    Malformed {
        /// The file
        path: PathBuf,
        /// What is wrong
        reason: &'static str,
    },
    /// Another kernel's
    #[error("{} has the types of another kernel: they are not those at {OWN}; {LEAVE_OUT}", path.display())]
    Foreign {
        /// The file
        path: PathBuf,
    },
}

impl BtfError {
    /// What to do about it: the end of its sentence.
    #[must_use]
    pub fn remedy(&self) -> &'static str {
        match self {
            Self::Unreadable { .. } => LEAVE_OUT_OR_RENAME,
            Self::Nowhere { .. } => BOOT_OR_NAME,
            Self::Malformed { .. } => NAME_ANOTHER,
            Self::Foreign { .. } => LEAVE_OUT,
        }
    }
}

/// A kernel's types, and where they come from.
#[derive(Clone, Debug)]
pub struct Types {
    /// The file
    pub path: PathBuf,
    /// BTF, not looked at yet
    pub bytes: Vec<u8>,
}

impl Types {
    /// Finds the running kernel's types: in the file that is named, or where they usually are.
    ///
    /// # Errors
    /// The named file cannot be read, has no types or another kernel's, or none is named and there are none.
    pub fn find(named: Option<&Path>) -> Result<Self, BtfError> {
        let Some(path) = named else { return Self::search(Path::new(OWN), &elsewhere()) };
        let bytes = read_file(path)?;
        if is_foreign(&bytes, Path::new(OWN)) {
            return Err(refusal(path, &bytes));
        }
        Ok(Self { path: path.to_owned(), bytes })
    }

    fn search(own: &Path, elsewhere: &[String]) -> Result<Self, BtfError> {
        let places = std::iter::once(own).chain(elsewhere.iter().map(Path::new));
        let mut found = places.filter_map(|path| {
            let types = read_file(path);
            let types = types.inspect_err(|error| log::debug!("no types there: {error}"));
            Some(Self { path: path.to_owned(), bytes: types.ok()? })
        });
        found.next().ok_or_else(|| BtfError::Nowhere { searched: elsewhere.to_vec() })
    }
}

/// Whether the kernel shows types of its own; without them it takes no typed program, whatever file is named.
#[must_use]
pub fn kernel_has_types() -> bool {
    Path::new(OWN).exists()
}

/// Reads a file's BTF: all of it, or the section of an ELF file.
///
/// # Errors
/// [`BtfError::Unreadable`], or an ELF file without that section.
pub fn read_file(path: &Path) -> Result<Vec<u8>, BtfError> {
    let unreadable = |reason| BtfError::Unreadable { path: path.to_owned(), reason };
    let mut file = File::open(path).map_err(unreadable)?;
    let mut bytes = Vec::with_capacity(file.metadata().map_or(0, |data| data.len().min(LARGEST) as usize));
    file.by_ref().take(ELF_MAGIC.len() as u64).read_to_end(&mut bytes).map_err(unreadable)?;
    if bytes == ELF_MAGIC {
        return section(file).map_err(|reason| BtfError::Malformed { path: path.to_owned(), reason });
    }
    file.take(LARGEST).read_to_end(&mut bytes).map_err(unreadable)?;
    Ok(bytes)
}

/// Most bytes taken for types: ten times those of a kernel with everything.
const LARGEST: u64 = 128 << 20;

/// An unstripped kernel is hundreds of megabytes: only what is asked for is read.
fn section(file: File) -> Result<Vec<u8>, &'static str> {
    let cache = ReadCache::new(file);
    let elf = object::File::parse(&cache).map_err(|_| "a damaged ELF file")?;
    let section = elf.section_by_name(SECTION).ok_or("an ELF file without a section .BTF")?;
    if section.size() > LARGEST {
        return Err("its section .BTF is too large");
    }
    section.data().map(<[u8]>::to_vec).map_err(|_| "its section .BTF is cut short")
}

/// Types that are not those of the kernel whose own are at `own`, as far as that can be read.
fn is_foreign(bytes: &[u8], own: &Path) -> bool {
    fs::read(own).is_ok_and(|own| own != bytes)
}

/// Why bytes that are not this kernel's types cannot be used: another kernel's, or no types at all.
fn refusal(path: &Path, bytes: &[u8]) -> BtfError {
    let path = path.to_owned();
    match Btf::parse(bytes) {
        Ok(_) => BtfError::Foreign { path },
        Err(reason) => BtfError::Malformed { path, reason },
    }
}

fn elsewhere() -> Vec<String> {
    let name = uname();
    let release = name.as_ref().ok().and_then(|name| name.release().to_str()).unwrap_or("unknown");
    ELSEWHERE.map(|place| place.replace("RELEASE", release)).to_vec()
}

#[cfg(test)]
mod tests {
    use object::{
        Architecture, BinaryFormat, Endianness, SectionKind,
        write::{Object, StandardSection},
    };

    use super::*;

    /// A folder of this test's own, gone with it.
    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("reuse-btf-{name}-{}", std::process::id()));
            fs::create_dir_all(&path).expect("a folder");
            Self(path)
        }

        fn write(&self, name: &str, bytes: &[u8]) -> PathBuf {
            let path = self.0.join(name);
            fs::write(&path, bytes).expect("a file");
            path
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    fn elf(section: Option<&[u8]>) -> Vec<u8> {
        let mut elf = Object::new(BinaryFormat::Elf, Architecture::X86_64, Endianness::Little);
        let _ = elf.section_id(StandardSection::Text);
        if let Some(bytes) = section {
            let id = elf.add_section(Vec::new(), SECTION.into(), SectionKind::ReadOnlyData);
            elf.append_section_data(id, bytes, 1);
        }
        elf.write().expect("an ELF file")
    }

    #[test]
    fn types_are_read_as_they_are_or_from_the_section() {
        let folder = Folder::new("section");
        assert_eq!(read_file(&folder.write("raw", b"types")).unwrap(), b"types");
        assert_eq!(read_file(&folder.write("short", b"t")).unwrap(), b"t");
        assert_eq!(read_file(&folder.write("vmlinux", &elf(Some(b"types")))).unwrap(), b"types");
        let error = read_file(&folder.write("stripped", &elf(None))).unwrap_err().to_string();
        assert!(error.contains("without a section .BTF"), "{error}");
        let whole = elf(Some(b"types"));
        for length in 4..whole.len() {
            let _ = read_file(&folder.write("cut", &whole[..length]));
        }
    }

    #[test]
    fn the_kernels_own_come_first_and_then_the_first_that_has_any() {
        let folder = Folder::new("search");
        let own = folder.write("own", b"own");
        let place = |path: PathBuf| path.display().to_string();
        let elsewhere = [
            place(folder.0.join("absent")),
            place(folder.write("stripped", &elf(None))),
            place(folder.write("vmlinux", &elf(Some(b"types")))),
        ];
        assert_eq!(Types::search(&own, &elsewhere).unwrap().bytes, b"own");
        let found = Types::search(&folder.0.join("absent"), &elsewhere).unwrap();
        assert_eq!((found.bytes.as_slice(), place(found.path)), (b"types".as_slice(), elsewhere[2].clone()));
        let error = Types::search(&folder.0.join("absent"), &elsewhere[..2]).unwrap_err().to_string();
        assert!(error.contains("CONFIG_DEBUG_INFO_BTF") && error.contains("--btf.path"), "{error}");
        assert!(error.contains(&elsewhere[1]), "{error}");
    }

    #[test]
    fn types_of_another_kernel_are_told_by_the_own_ones() {
        let folder = Folder::new("foreign");
        let own = folder.write("own", b"own");
        assert!(is_foreign(b"other", &own));
        assert!(!is_foreign(b"own", &own));
        assert!(!is_foreign(b"other", &folder.0.join("absent")));
    }

    #[test]
    fn what_has_no_types_is_not_called_another_kernels() {
        let said = |bytes: &[u8]| refusal(Path::new("/file"), bytes).to_string();
        assert!(said(&[]).contains("no usable type information (too short)"), "{}", said(&[]));
        let passwd = said(b"root:x:0:0:root:/root:/bin/bash\n");
        assert!(passwd.contains("no usable type information (wrong magic number"), "{passwd}");
        let other = said(&super::super::tests::sample());
        assert!(other.starts_with("/file has the types of another kernel"), "{other}");
    }

    #[test]
    fn the_reason_is_said_once_and_the_remedy_last() {
        let unreadable = read_file(Path::new("/nonexistent/btf")).expect_err("no file");
        let in_full = format!("{:#}", anyhow::Error::new(unreadable));
        assert_eq!(in_full.matches("os error").count(), 1, "{in_full}");
        let path = || PathBuf::from("/file");
        for error in [
            BtfError::Unreadable { path: path(), reason: io::Error::from_raw_os_error(libc::EISDIR) },
            BtfError::Nowhere { searched: vec!["/elsewhere".to_owned()] },
            BtfError::Malformed { path: path(), reason: "too short" },
            BtfError::Foreign { path: path() },
        ] {
            assert!(error.to_string().ends_with(error.remedy()), "{error}");
        }
    }
}
