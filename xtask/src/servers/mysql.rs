//! The set-up and start of a private MariaDB or MySQL.

use std::process::Command;

use super::private::{Place, Plan, find_program};
use crate::Result;

pub(super) fn plan(place: &Place) -> Result<Plan> {
    let server = find_program(&["mariadbd", "mysqld"], &[])?;
    let data = format!("--datadir={}", place.directory.join("data").display());
    let initialise = match find_program(&["mariadb-install-db", "mysql_install_db"], &[]) {
        Ok(program) => {
            let mut command = Command::new(program);
            command.args([
                "--no-defaults",
                "--skip-test-db",
                "--auth-root-authentication-method=normal",
                &data,
            ]);
            command
        }
        // MySQL's own server lays out its directory itself.
        Err(_) => {
            let mut command = Command::new(&server);
            command.args(["--no-defaults", "--initialize-insecure", &data]);
            command
        }
    };
    let mut serve = Command::new(server);
    serve.args(["--no-defaults", &data, "--bind-address=127.0.0.1"]);
    // The data need not outlive the server. Tests and relays ask whether a commit waits for the
    // log, and it does: only the log does not wait for the disk. MySQL does not know the second.
    serve.args(["--innodb-flush-method=nosync", "--loose-skip-sync-frm"]);
    serve.arg("--max-connections=500");
    serve.arg(format!("--port={}", place.port));
    serve.arg(format!(
        "--socket={}",
        place.directory.join("socket").display()
    ));
    serve.arg(format!(
        "--pid-file={}",
        place.directory.join("pid").display()
    ));
    let url = format!("mysql://root@127.0.0.1:{}/", place.port);
    Ok(Plan {
        initialise: Some(initialise),
        serve,
        url,
        account: Some("mysql"),
        stop_signal: "TERM",
    })
}
