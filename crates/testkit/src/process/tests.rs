use super::*;

const LONG: Duration = Duration::from_secs(30);

fn sh(script: &str) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", script]);
    command
}

fn is_alive(pid: &str) -> bool {
    // A zombie counts as dead: it only waits for its parent.
    std::fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| {
        !stat
            .rsplit(')')
            .next()
            .is_some_and(|rest| rest.starts_with(" Z"))
    })
}

#[test]
fn a_dropped_child_is_gone_with_its_own_children() {
    let mut child = Child::spawn(
        "nest",
        &mut sh("sleep 1000 & echo pid=$!; wait"),
        Conversation::Silent,
    )
    .expect("starts");
    child
        .wait_for_log(LONG, "\n")
        .expect("says the number of its child");
    let grandchild = child
        .log()
        .unwrap()
        .trim()
        .strip_prefix("pid=")
        .unwrap()
        .to_owned();
    assert!(is_alive(&grandchild));
    drop(child);
    wait_until(LONG, "end of the grandchild", || !is_alive(&grandchild)).unwrap();
}

#[test]
fn the_guard_kills_when_its_owner_is_killed() {
    let mut victim = Command::new("sleep")
        .arg("1000")
        .process_group(0)
        .spawn()
        .unwrap();
    let mut guard = std::mem::ManuallyDrop::new(Guard::watch(Pid::from_child(&victim)).unwrap());
    // What the kernel does with the pipe when the test process dies.
    drop(guard.stdin());
    wait_until(LONG, "the guard kills", || {
        victim.try_wait().unwrap().is_some()
    })
    .unwrap();
    guard.reap();
}

#[test]
fn terminate_gives_the_exit_status() {
    let script = "trap 'exit 7' TERM; echo ready; while :; do sleep 0.01; done";
    let mut child = Child::spawn("seven", &mut sh(script), Conversation::Silent).unwrap();
    child.wait_for_log(LONG, "ready").unwrap();
    assert_eq!(child.terminate(LONG).unwrap().code(), Some(7));
    assert!(
        child.signal(Signal::TERM).is_err(),
        "no signal to a number that may be reused"
    );
}

#[test]
fn waiting_for_the_log_of_a_dead_child_fails_with_its_log() {
    let mut child = Child::spawn(
        "brief",
        &mut sh("echo last words; exit 3"),
        Conversation::Silent,
    )
    .unwrap();
    let error = child.wait_for_log(LONG, "never said").unwrap_err();
    let text = format!("{error:#}");
    assert!(
        text.contains("exit status: 3") && text.contains("last words"),
        "{text}"
    );
}

#[test]
fn run_reports_status_output_and_time_limit() {
    let done = run(&mut sh("echo out; echo err >&2"), LONG).unwrap();
    assert_eq!(
        (done.stdout.as_str(), done.stderr.as_str()),
        ("out\n", "err\n")
    );
    let failed = run(&mut sh("echo out; echo err >&2; exit 4"), LONG).unwrap_err();
    assert_eq!((failed.status, failed.stderr.as_str()), (Some(4), "err\n"));
    let late = run(&mut sh("sleep 1000"), Duration::from_millis(20)).unwrap_err();
    assert_eq!(late.status, None);
    assert!(late.reason.contains("20ms"), "{}", late.reason);
    let absent = run(&mut Command::new("no-such-program-here"), LONG).unwrap_err();
    assert!(absent.reason.contains("cannot be run"), "{}", absent.reason);
}

#[test]
fn wait_until_names_what_it_waited_for() {
    let error = wait_until(Duration::from_millis(5), "the cows", || false).unwrap_err();
    assert!(error.to_string().contains("the cows"), "{error}");
    let mut looks = 0;
    wait_until(LONG, "three looks", || {
        looks += 1;
        looks == 3
    })
    .unwrap();
}

#[test]
fn socket_paths_are_short_and_distinct() {
    let (one, two) = (SocketPath::new().unwrap(), SocketPath::new().unwrap());
    assert_ne!(one.path(), two.path());
    assert!(!one.answers());
    let listener = std::os::unix::net::UnixListener::bind(&one).unwrap();
    assert!(one.answers());
    drop(listener);
}
