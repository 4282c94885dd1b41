//! The container image: its root folder, assembled as packaging/Dockerfile describes it, and used by `chroot`.

use super::{Release, copy, is_root, read, size, write};
use crate::ministack::Server;
use crate::sh;
use crate::test::DUMMIES;
use std::path::Path;
use std::process::Command;

/// The instructions of packaging/Dockerfile that have a meaning here.
#[derive(Debug, Default, PartialEq)]
struct Image {
    /// Source and folder or file, and whether the source is another image.
    copied: Vec<(String, String, bool)>,
    user: String,
    program: String,
}

/// Assembles the root folder of the image from the folder `content` of the archive, and runs the program in it.
pub fn assemble(release: &mut Release, content: &Path) -> Result<(), String> {
    let image = parse(&read(&sh::root().join("packaging/Dockerfile"))?)?;
    let root = super::target()?.join("image");
    super::empty(&root)?;
    for (from, to, is_foreign) in &image.copied {
        // This host has the certificates at the same place as the image that they come from.
        let folder = if *is_foreign { Path::new("/") } else { content };
        let to = if to.ends_with('/') { format!("{to}{from}") } else { to.clone() };
        copy(&folder.join(from.trim_start_matches('/')), &root, to.trim_start_matches('/'))?;
    }
    let name = "root of the image";
    if !is_root() {
        release.skipped(name, "only root may use `chroot`");
        return Ok(());
    }
    // Container runtimes provide these.
    write(&root.join("etc/hosts"), "127.0.0.1 localhost\n")?;
    std::fs::create_dir_all(root.join("proc")).map_err(|error| error.to_string())?;
    let volume = root.join("data");
    std::fs::create_dir_all(&volume).map_err(|error| error.to_string())?;
    sh::stdout(Command::new("chown").arg(&image.user).arg(&volume))?;

    let expected = format!("dynamo-lock {}\n", release.version);
    let run = |arguments: &[&str]| {
        let mut command = Command::new("unshare");
        command.args(["--fork", "--pid", "--kill-child"]).arg(format!("--mount-proc={}", root.join("proc").display()));
        command.args(["chroot", &format!("--userspec={}", image.user)]).arg(&root).arg(&image.program).args(arguments);
        sh::stdout(command.env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").envs(DUMMIES))
    };
    let require = |what: &str, printed: String| match printed == expected {
        true => Ok(()),
        false => Err(format!("{what} in the image printed {printed:?}, not {expected:?}")),
    };
    require("--version", run(&["--version"])?)?;
    // The image has no other program than this one, so it is also the command that runs under the lock.
    let command = ["demo", "--", image.program.as_str(), "--version"];
    require("a run on SQLite", run(&[&["run", "--store", "sqlite:///data/locks.db"], &command[..]].concat())?)?;
    let server = Server::start()?;
    let url = server.url().replace("127.0.0.1", "localhost");
    run(&["table", "create", "--table", "Lock", "--endpoint-url", &url])?;
    let on_dynamodb = ["run", "--table", "Lock", "--endpoint-url", &url];
    require("a run on DynamoDB", run(&[&on_dynamodb, &command[..]].concat())?)?;
    let bytes: u64 = image.copied.iter().map(|(from, ..)| size(&root.join(from.trim_start_matches('/')))).sum();
    let how = format!("as user {} in `chroot`: --version, run on SQLite and on DynamoDB by host name", image.user);
    release.lines.push(format!("ok        {name}, {:.1} MB: {how}", bytes as f64 / 1e6));
    Ok(())
}

/// Reads the few instructions that a Dockerfile from `scratch` needs, and refuses others.
fn parse(dockerfile: &str) -> Result<Image, String> {
    let mut image = Image::default();
    for line in dockerfile.lines().filter(|line| !line.starts_with('#') && !line.is_empty()) {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words[..] {
            ["FROM", "scratch"] => {}
            ["COPY", option, from, to] if option.starts_with("--from=") => {
                image.copied.push((from.into(), to.into(), true));
            }
            ["COPY", ref files @ .., folder] => {
                image.copied.extend(files.iter().map(|from| ((*from).into(), folder.into(), false)));
            }
            ["USER", user] => image.user = user.into(),
            ["ENTRYPOINT", program] => image.program = program.trim_matches(['[', ']', '"']).into(),
            _ => return Err(format!("cannot assemble the image: `{line}` is no instruction that xtask understands")),
        }
    }
    match image.user.split(':').next() {
        None | Some("" | "0" | "root") => Err("the image would run as root: add a USER to packaging/Dockerfile".into()),
        Some(_) => Ok(image),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn image_with_root_or_unknown_instruction_is_refused() {
        let text = "# c\nFROM scratch\nCOPY --from=a:1 /b /c\nCOPY d e /\nUSER 1:1\nENTRYPOINT [\"/d\"]\n";
        let image = parse(text).expect("valid");
        let copied = [("/b", "/c", true), ("d", "/", false), ("e", "/", false)];
        assert_eq!(image.copied, copied.map(|(from, to, foreign)| (from.to_owned(), to.to_owned(), foreign)));
        assert_eq!((&*image.user, &*image.program), ("1:1", "/d"));
        assert!(parse(&text.replace("USER 1:1\n", "")).is_err_and(|error| error.contains("root")));
        assert!(parse(&text.replace("USER 1:1", "USER root")).is_err());
        assert!(parse(&text.replace("FROM scratch", "RUN x")).is_err_and(|error| error.contains("RUN x")));
    }
}
