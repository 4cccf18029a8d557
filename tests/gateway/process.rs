//! The gateway as a process.

use std::{
    fs,
    io::{BufRead, BufReader, Read},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, ChildStdout, Command, Stdio},
    sync::{
        OnceLock,
        atomic::{AtomicU32, Ordering},
    },
};

use crate::Result;

/// The program. Cargo builds examples for `cargo test`, but not for `cargo test --test gateway`.
pub(crate) fn gateway() -> Result<&'static Path> {
    static BUILT: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    let build = || -> Result<PathBuf> {
        let this = std::env::current_exe()?;
        let profile = this.parent().and_then(Path::parent).ok_or("a test is in PROFILE/deps")?;
        let release = profile.ends_with("release").then_some("--release");
        let target = profile.parent().ok_or("a profile is in the target directory")?;
        let built = Command::new(env!("CARGO"))
            .args(["build", "--quiet", "--example", "gateway"])
            .args(release)
            .env("CARGO_TARGET_DIR", target)
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .status()?;
        assert!(built.success(), "the example does not build");
        Ok(profile.join("examples").join("gateway").with_extension(std::env::consts::EXE_EXTENSION))
    };
    BUILT
        .get_or_init(|| build().map_err(|error| error.to_string()))
        .as_deref()
        .map_err(|error| error.clone().into())
}

/// A file that is removed when the test ends.
pub(crate) struct TempFile(pub(crate) PathBuf);

impl TempFile {
    pub(crate) fn new(text: &str) -> Result<Self> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let path = Path::new(env!("CARGO_TARGET_TMPDIR"))
            .join(format!("gateway-{}-{number}.toml", std::process::id()));
        fs::write(&path, text)?;
        Ok(Self(path))
    }
}

impl Drop for TempFile {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

/// A gateway in its own process. The process is killed on drop.
pub(crate) struct Running {
    process: Child,
    stdout: BufReader<ChildStdout>,
    pub(crate) address: SocketAddr,
    _config: TempFile,
}

impl Running {
    pub(crate) fn start(config: &str) -> Result<Self> {
        Self::start_with(config, &[])
    }

    /// A gateway with further arguments.
    pub(crate) fn start_with(config: &str, args: &[&str]) -> Result<Self> {
        let config = TempFile::new(config)?;
        let mut process = Command::new(gateway()?)
            .arg("--config")
            .arg(&config.0)
            .args(args)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()?;
        let mut stdout = BufReader::new(process.stdout.take().ok_or("it is piped")?);
        let mut line = String::new();
        let address = match stdout.read_line(&mut line) {
            Ok(_) => line.trim().trim_start_matches("listening on http://").parse(),
            Err(_) => "".parse(),
        };
        let address = address.map_err(|_| {
            let _ = process.kill();
            format!("it did not say where it listens: {line}")
        })?;
        Ok(Self { process, stdout, address, _config: config })
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    #[cfg(target_os = "linux")]
    pub(crate) fn id(&self) -> u32 {
        self.process.id()
    }

    #[cfg(unix)]
    pub(crate) fn signal(&self, signal: &str) -> Result {
        // The shell's builtin: not every system has the program.
        let sent =
            Command::new("sh").arg("-c").arg(format!("kill -{signal} {}", self.process.id())).status()?;
        assert!(sent.success());
        Ok(())
    }

    /// Waits for the end of the process. Returns the exit code and the rest of its output.
    #[cfg(unix)]
    pub(crate) fn wait(mut self) -> std::io::Result<(Option<i32>, String)> {
        let mut rest = String::new();
        self.stdout.read_to_string(&mut rest)?;
        Ok((self.process.wait()?.code(), rest))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
