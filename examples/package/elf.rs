//! Whether a program can run on the images of the Functions service.
//!
//! Nothing in the publishing tools looks at the file: a wrong one is uploaded happily and then fails at its start, on
//! the service, with an empty 500. So the header and the versions of the symbols are read here.

use object::{
    Endianness, Object,
    elf::{EM_X86_64, ET_DYN, ET_EXEC, FileHeader64},
    read::elf::{ElfFile64, FileHeader, ProgramHeader, SectionHeader},
};

/// The oldest C library among the service's images (Debian 11).
pub const OLDEST_GLIBC: Version = Version(2, 31);
/// The largest program: what is unpacked at a cold start counts.
pub const MOST_BYTES: u64 = 12_000_000;

const LOADER: &str = "/lib64/ld-linux-x86-64.so.2";
/// What every image has: the C library's own parts, and the compiler's unwinder.
const LIBRARIES: [&str; 8] = [
    "ld-linux-x86-64.so.2",
    "libc.so.6",
    "libdl.so.2",
    "libgcc_s.so.1",
    "libm.so.6",
    "libpthread.so.0",
    "librt.so.1",
    "libutil.so.1",
];

/// A version of the C library.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version(pub u32, pub u32);

impl std::fmt::Display for Version {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}", self.0, self.1)
    }
}

/// Why a program was refused, and what to do about it.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason}; {remedy}")]
pub struct Refused {
    pub reason: String,
    pub remedy: &'static str,
}

impl From<object::Error> for Refused {
    fn from(error: object::Error) -> Self {
        refused(format!("can't be read as a program: {error}"), BUILD)
    }
}

const BUILD: &str = "build it for x86_64-unknown-linux-gnu.2.31, as this command does when no --binary is given";

fn refused(reason: impl Into<String>, remedy: &'static str) -> Refused {
    Refused { reason: reason.into(), remedy }
}

/// Refuses a program that would make cold starts slow.
pub fn check_size(bytes: u64) -> Result<(), Refused> {
    if bytes <= MOST_BYTES {
        return Ok(());
    }
    let reason = format!("has {bytes} bytes, more than the {MOST_BYTES} that a quick cold start allows");
    Err(refused(reason, "build it with --release, and look for a new heavy dependency"))
}

/// The highest version of the C library that `program` asks for; none when it is static.
pub fn check_target(program: &[u8]) -> Result<Option<Version>, Refused> {
    if !program.starts_with(b"\x7fELF") {
        return Err(refused("is not a Linux program (no ELF header)", BUILD));
    }
    let header = FileHeader64::<Endianness>::parse(program)
        .map_err(|_| refused("is not a 64-bit program, or is cut short", BUILD))?;
    let endian = header.endian()?;
    if header.e_machine(endian) != EM_X86_64 {
        return Err(refused(format!("is for another processor ({:?})", header.e_machine(endian)), BUILD));
    }
    if ![ET_EXEC, ET_DYN].contains(&header.e_type(endian)) {
        return Err(refused("is not executable (an object file or a core dump)", BUILD));
    }
    let file = ElfFile64::parse(program)?;
    check_loader(&file)?;
    check_libraries(&file)?;
    match newest_glibc(&file)? {
        Some(version) if version > OLDEST_GLIBC => {
            Err(refused(format!("needs glibc {version}, the service's images have {OLDEST_GLIBC}"), BUILD))
        }
        newest => Ok(newest),
    }
}

type Elf<'a> = ElfFile64<'a, Endianness>;

/// A loader that isn't there (musl's, say) makes the start fail with "not found", which names the wrong file.
fn check_loader(file: &Elf) -> Result<(), Refused> {
    for segment in file.elf_program_headers() {
        if let Some(loader) = segment.interpreter(file.endian(), file.data())? {
            let loader = String::from_utf8_lossy(loader);
            if loader == LOADER {
                return Ok(());
            }
            let reason = format!("asks for the loader {loader}, which the service's images don't have");
            return Err(refused(reason, BUILD));
        }
    }
    // A shared library has the type of a position-independent program, but neither loader nor entry point.
    if file.entry() == 0 { Err(refused("is a shared library, not a program", BUILD)) } else { Ok(()) }
}

fn check_libraries(file: &Elf) -> Result<(), Refused> {
    for library in file.import_libraries()? {
        let library = library?;
        let name = String::from_utf8_lossy(library.name());
        if !LIBRARIES.contains(&&*name) {
            let reason = format!("needs the library {name}, which the service's images may not have");
            return Err(refused(reason, "link it statically or do without it (rustls, not OpenSSL)"));
        }
    }
    Ok(())
}

fn newest_glibc(file: &Elf) -> Result<Option<Version>, Refused> {
    let (endian, data, sections) = (file.endian(), file.data(), file.elf_section_table());
    let mut newest = None;
    for section in sections.iter() {
        let Some((mut libraries, strings)) = section.gnu_verneed(endian, data)? else {
            continue;
        };
        let strings = sections.strings(endian, data, strings)?;
        while let Some((_, mut symbols)) = libraries.next()? {
            while let Some(symbol) = symbols.next()? {
                let name = String::from_utf8_lossy(symbol.name(endian, strings)?);
                // GCC_3.0, say: the unwinder's versions are its own.
                let Some(version) = name.strip_prefix("GLIBC_") else {
                    continue;
                };
                let Some(version) = parse(version) else {
                    return Err(refused(format!("needs {name}, which no image promises to have"), BUILD));
                };
                newest = newest.max(Some(version));
            }
        }
    }
    Ok(newest)
}

/// `2.28`, or `2.2.5`, whose last part never decides.
fn parse(version: &str) -> Option<Version> {
    let mut parts = version.split('.').map(str::parse);
    Some(Version(parts.next()?.ok()?, parts.next()?.ok()?))
}
