//! Several test programs at a time: most of them wait for a server more than they compute.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::{Mutex, PoisonError, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use super::report::Report;
use crate::Result;

/// A command whose output is libtest's.
#[derive(Debug)]
pub(super) struct Job {
    /// The name of the program, which may be that of a suite or a server.
    pub(super) name: String,
    pub(super) is_integration_test: bool,
    /// The line that stands above its output.
    pub(super) title: String,
    pub(super) command: Command,
}

/// Jobs that must not run at one time, in their order.
pub(super) type Chain = Vec<Job>;

/// The variables of one lane, which name its servers: set, or removed.
pub(super) type Variables = Vec<(&'static str, Option<OsString>)>;

/// Chains, and the lanes in which they run, one in each at a time.
#[derive(Debug)]
pub(super) struct Queue {
    pub(super) chains: Vec<Chain>,
    pub(super) lanes: Vec<Variables>,
}

/// A job that has ended, or could not be started.
#[derive(Debug)]
struct Ended {
    job: Job,
    /// The file of its output.
    output: PathBuf,
    status: io::Result<ExitStatus>,
    took: Duration,
}

/// Runs the queues beside each other, and the chains of each in its lanes. When a job has ended,
/// its output is shown and read by the report; until then it can be read in a file of the folder.
pub(super) fn run(
    queues: Vec<Queue>,
    folder: &Path,
    report: &mut Report,
    out: &mut impl Write,
) -> Result {
    fs::create_dir_all(folder)?;
    let queues: Vec<_> = queues
        .into_iter()
        .map(|Queue { chains, lanes }| (Mutex::new(VecDeque::from(chains)), lanes))
        .collect();
    let (sender, ended) = mpsc::channel();
    thread::scope(|scope| {
        for (queue, lanes) in &queues {
            for variables in lanes {
                let sender = sender.clone();
                scope.spawn(move || {
                    while let Some(chain) = next(queue) {
                        for job in chain {
                            // Without a receiver the run has failed already.
                            if sender.send(play(job, variables, folder)).is_err() {
                                return;
                            }
                        }
                    }
                });
            }
        }
        drop(sender);
        ended
            .into_iter()
            .try_for_each(|ended| show(&ended, report, out))
    })
}

fn next(queue: &Mutex<VecDeque<Chain>>) -> Option<Chain> {
    queue
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .pop_front()
}

fn play(mut job: Job, variables: &Variables, folder: &Path) -> Ended {
    for (variable, value) in variables {
        match value {
            Some(value) => job.command.env(variable, value),
            None => job.command.env_remove(variable),
        };
    }
    let begun = Instant::now();
    let of_letters = |letter: char| {
        if letter.is_alphanumeric() {
            letter
        } else {
            '-'
        }
    };
    let name: String = job.title.trim().chars().map(of_letters).collect();
    let output = folder.join(name).with_extension("txt");
    Ended {
        status: wait_for(&mut job.command, &output),
        job,
        output,
        took: begun.elapsed(),
    }
}

/// Both streams go into one file, as in a terminal. A pipe would stay open until the last process
/// that the command has left behind ends.
fn wait_for(command: &mut Command, output: &Path) -> io::Result<ExitStatus> {
    let file = File::create(output)?;
    command
        .stdin(Stdio::null())
        .stderr(file.try_clone()?)
        .stdout(file)
        .status()
}

fn show(ended: &Ended, report: &mut Report, out: &mut impl Write) -> Result {
    let output = fs::read(&ended.output).unwrap_or_default();
    let job = &ended.job;
    report.begin(&job.name, &job.title, job.is_integration_test);
    for line in String::from_utf8_lossy(&output).lines() {
        report.read_line(line);
    }
    let how = match &ended.status {
        Ok(status) => status.to_string(),
        Err(error) => format!("it could not be started: {error}"),
    };
    report.end(ended.status.as_ref().is_ok_and(ExitStatus::success), &how);
    writeln!(out, "     Running {}", job.title)?;
    out.write_all(&output)?;
    writeln!(out, "{how} after {:.1} s\n", ended.took.as_secs_f64())?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSED: &str = "echo 'test result: ok. 1 passed; 0 failed; 0 ignored'";

    fn job(name: &str, script: &str) -> Job {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        Job {
            name: name.to_owned(),
            is_integration_test: true,
            title: format!("tests/{name}.rs"),
            command,
        }
    }

    fn queue(chains: Vec<Chain>, lanes: usize) -> Queue {
        let lanes = (0..lanes).map(|lane| vec![("LANE", Some(lane.to_string().into()))]);
        Queue {
            chains,
            lanes: lanes.collect(),
        }
    }

    /// The verdict of the jobs, in one chain or in a chain each.
    fn verdict(folder: &str, queues: Vec<Queue>) -> std::result::Result<(), String> {
        let folder = std::env::temp_dir().join(format!("{folder}-{}", std::process::id()));
        let mut report = Report::new([]);
        run(queues, &folder, &mut report, &mut io::sink()).unwrap();
        fs::remove_dir_all(&folder).unwrap();
        report.verdict(false).map_err(|error| error.to_string())
    }

    #[test]
    fn each_job_runs_once_whatever_the_lanes() {
        let folder = std::env::temp_dir().join(format!("bento-lanes-{}", std::process::id()));
        let file = folder.join("ran");
        let script = |name: &str| format!("echo {name} >> {}; {PASSED}", file.display());
        let chain = |names: &[&str]| -> Chain {
            let job = |name: &&str| job(name, &script(name));
            names.iter().map(job).collect()
        };
        let others = vec![chain(&["c"]), chain(&["d", "e"]), chain(&["f"])];
        let queues = vec![queue(vec![chain(&["a", "b"])], 1), queue(others, 2)];
        run(queues, &folder, &mut Report::new([]), &mut io::sink()).unwrap();
        let ran = fs::read_to_string(&file).unwrap();
        fs::remove_dir_all(&folder).unwrap();
        let mut names: Vec<&str> = ran.lines().collect();
        let place = |name| names.iter().position(|ran| *ran == name).unwrap();
        assert!(place("a") < place("b") && place("d") < place("e"), "{ran}");
        names.sort_unstable();
        assert_eq!(names, ["a", "b", "c", "d", "e", "f"]);
    }

    #[test]
    fn a_program_that_is_killed_or_says_nothing_is_named() {
        let killed = job("killed", &format!("{PASSED}; kill -KILL $$"));
        let silent = job("silent", "true");
        let failing = job("failing", &format!("{PASSED}; exit 3"));
        let mut missing = job("missing", "");
        missing.command = Command::new("/there/is/no/such/program");
        let good = job("good", PASSED);
        let chain = vec![killed, silent, failing, missing, good];
        let error = verdict("bento-lanes-broken", vec![queue(vec![chain], 1)]).unwrap_err();
        let lines: Vec<&str> = error.lines().collect();
        assert_eq!(lines.len(), 5, "{error}");
        assert!(
            lines[1].starts_with("  tests/killed.rs: signal: 9"),
            "{error}"
        );
        assert!(lines[2].starts_with("  tests/silent.rs: "), "{error}");
        assert!(
            lines[3].starts_with("  tests/failing.rs: exit status: 3"),
            "{error}"
        );
        assert!(
            lines[4].starts_with("  tests/missing.rs: it could not"),
            "{error}"
        );
    }

    #[test]
    fn each_lane_has_its_variables() {
        let folder = std::env::temp_dir().join(format!("bento-lanes-own-{}", std::process::id()));
        let file = folder.join("lane");
        let script = format!("echo $LANE${{HOME-none}} > {}; {PASSED}", file.display());
        let mut queue = queue(vec![vec![job("lane", &script)]], 1);
        queue.lanes[0].push(("HOME", None));
        run(vec![queue], &folder, &mut Report::new([]), &mut io::sink()).unwrap();
        let lane = fs::read_to_string(&file).unwrap();
        fs::remove_dir_all(&folder).unwrap();
        assert_eq!(lane, "0none\n");
    }

    #[test]
    fn programs_that_pass_are_no_error() {
        let chains = vec![vec![job("one", PASSED)], vec![job("two", PASSED)]];
        verdict("bento-lanes-passing", vec![queue(chains, 2)]).unwrap();
    }
}
