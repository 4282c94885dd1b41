//! Check that the file system of the database is on this machine.

use std::path::Path;

use super::error::misconfigured;
use crate::store::StoreError;

/// Refuses file systems on which SQLite's locks may not reach every process that can open the file.
pub(super) fn check_file_system(directory: &Path) -> Result<(), StoreError> {
    let problem = match unsafe_file_system(directory) {
        Ok(None) => return Ok(()),
        Ok(Some(name)) => {
            format!("{directory:?} is on a {name} file system, whose file locks may not exclude other processes")
        }
        Err(error) => format!("cannot determine the file system of {directory:?}: {error}"),
    };
    Err(misconfigured(problem, "name a file on a local disk"))
}

/// Returns the name of the file system of a directory if it is not known to be local.
#[cfg(any(target_os = "linux", target_os = "android"))]
fn unsafe_file_system(directory: &Path) -> Result<Option<String>, &'static str> {
    let found = nix::sys::statfs::statfs(directory).map_err(nix::errno::Errno::desc)?;
    // Compare the low 32 bits, because width and sign of the type differ between platforms.
    Ok(unsafe_magic(found.filesystem_type().0 as u32))
}

/// Returns the name of the file system of a directory if it is not known to be local.
#[cfg(any(target_vendor = "apple", target_os = "freebsd", target_os = "openbsd", target_os = "dragonfly"))]
fn unsafe_file_system(directory: &Path) -> Result<Option<String>, &'static str> {
    let found = nix::sys::statfs::statfs(directory).map_err(nix::errno::Errno::desc)?;
    let name = found.filesystem_type_name();
    Ok((!is_local_name(name)).then(|| name.to_owned()))
}

/// Returns whether a file system of macOS or a BSD is known to be local, by its name.
#[cfg(any(not(any(windows, target_os = "linux", target_os = "android")), test))]
#[cfg_attr(any(target_os = "netbsd", target_os = "solaris", target_os = "illumos"), allow(dead_code))]
fn is_local_name(name: &str) -> bool {
    ["apfs", "hfs", "exfat", "msdos", "msdosfs", "ufs", "ffs", "zfs", "hammer", "hammer2", "tmpfs", "mfs", "ext2fs"]
        .contains(&name)
}

/// Returns the name of the file system of a directory if it is not known to be local.
#[cfg(windows)]
fn unsafe_file_system(directory: &Path) -> Result<Option<String>, &'static str> {
    Ok(is_network_path(&directory.to_string_lossy()).then(|| "network".to_owned()))
}

/// Systems without a way to find out.
#[cfg(not(any(
    windows,
    target_os = "linux",
    target_os = "android",
    target_vendor = "apple",
    target_os = "freebsd",
    target_os = "openbsd",
    target_os = "dragonfly"
)))]
fn unsafe_file_system(_: &Path) -> Result<Option<String>, &'static str> {
    Ok(None)
}

/// Returns whether a canonical Windows path is on another machine. Windows replaces the letter of a network drive by
/// the name of its share in canonical paths.
#[cfg(any(windows, test))]
fn is_network_path(path: &str) -> bool {
    let is_local = [r"\\?\", r"\\.\"].iter().any(|prefix| path.starts_with(prefix));
    path.starts_with(r"\\?\UNC\") || path.starts_with(r"\\") && !is_local
}

/// `statfs` types of file systems of one machine: ext2 to ext4, XFS, Btrfs, F2FS, ZFS, bcachefs, JFS, ReiserFS, NILFS,
/// UBIFS, JFFS2, HFS+, exFAT, FAT, NTFS, tmpfs, ramfs, overlay, aufs and eCryptfs.
#[cfg(any(target_os = "linux", target_os = "android"))]
const LOCAL_MAGICS: [u32; 20] = [
    0xef53,
    0x5846_5342,
    0x9123_683e,
    0xf2f5_2010,
    0x2fc1_2fc1,
    0xca45_1a4e,
    0x3153_464a,
    0x5265_4973,
    0x3434,
    0x2405_1905,
    0x72b6,
    0x482b,
    0x2011_bab0,
    0x4d44,
    0x7366_746e,
    0x0102_1994,
    0x8584_58f6,
    0x794c_7630,
    0x6175_6673,
    0xf15f,
];

/// Returns the name of a file system that is not known to be local, by its `statfs` type.
#[cfg(any(target_os = "linux", target_os = "android"))]
fn unsafe_magic(magic: u32) -> Option<String> {
    let name = match magic {
        local if LOCAL_MAGICS.contains(&local) => return None,
        0x6969 => "network (NFS)",
        0x517b | 0xff53_4d42 | 0xfe53_4d42 => "network (SMB)",
        0x6573_5546 => "FUSE or virtiofs",
        0x0102_1997 => "9p",
        0x00c3_6400 => "network (Ceph)",
        0x5346_414f | 0x6b41_4653 => "network (AFS)",
        0x7375_7245 => "network (Coda)",
        0x0bd0_0bd0 => "network (Lustre)",
        0x4750_4653 => "network (GPFS)",
        0x1983_0326 => "network (BeeGFS)",
        0x786f_4256 => "shared-folder (vboxsf)",
        0x0116_1970 => "shared-disk (GFS2)",
        0x7461_636f => "shared-disk (OCFS2)",
        unknown => return Some(format!("possibly shared (type {unknown:#x})")),
    };
    Some(name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(target_os = "linux")]
    #[test]
    fn file_systems_that_are_not_local_are_refused() {
        // NFS, FUSE, 9p, SMB, vboxsf, vmhgfs, Parallels, PanFS, StorNext, OrangeFS, VxFS
        for refused in [
            0x6969,
            0x6573_5546,
            0x0102_1997,
            0xff53_4d42,
            0x786f_4256,
            0xbacb_acbc,
            0x7c7c_6673,
            0xaad7_aaea,
            0xbeef_dead,
            0x2003_0528,
            0xa501_fcf5,
        ] {
            assert!(unsafe_magic(refused).is_some(), "{refused:#x}");
        }
        // ext4, xfs, btrfs, tmpfs, overlay, f2fs, zfs
        for local in [0xef53, 0x5846_5342, 0x9123_683e, 0x0102_1994, 0x794c_7630, 0xf2f5_2010, 0x2fc1_2fc1] {
            assert_eq!(unsafe_magic(local), None, "{local:#x}");
        }
        assert_eq!(unsafe_magic(0x786f_4257).as_deref(), Some("possibly shared (type 0x786f4257)"));
    }

    #[test]
    fn file_system_of_macos_and_bsd_is_judged_by_name() {
        assert!(["apfs", "hfs", "ufs", "zfs"].into_iter().all(is_local_name));
        assert!(!["nfs", "smbfs", "afpfs", "webdav", "macfuse", "fusefs", ""].into_iter().any(is_local_name));
    }

    #[test]
    fn canonical_path_of_network_share_is_recognized() {
        for network in [r"\\?\UNC\server\share\d", r"\\server\share"] {
            assert!(is_network_path(network), "{network}");
        }
        for local in [r"\\?\C:\d", r"C:\d", r"\\.\C:\d", "/d"] {
            assert!(!is_network_path(local), "{local}");
        }
    }
}
