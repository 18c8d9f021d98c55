# The application on the SQLite library of the distribution: writes the history of `side.rs`, or runs
# checkpoints, until its standard input ends. Takes and leaves the same JSON as `role.rs`.
import json, os, select, sqlite3, struct, sys, time

role = json.loads(os.environ["LITESTREAM_STRESS_ROLE"])
(kind, work), = role["work"].items()


def connect():
    return sqlite3.connect(role["db"], timeout=role["busy_ms"] / 1000, isolation_level=None)


def stopped(seconds):
    return bool(select.select([sys.stdin], [], [], seconds)[0])


def tell(file, begun, committed, busy):
    words = [word for n in (begun, committed, busy) for word in (n, n ^ (2**64 - 1))]
    os.pwrite(file, struct.pack("<6Q", *words), 0)


def is_busy(error):
    return "locked" in str(error) or "busy" in str(error)


def commit(db, worker, n):
    repeats = 3000 if n % 31 == 0 else n % 40 + 1
    if n % 23 == 0:
        db.execute("BEGIN IMMEDIATE")
        db.execute("UPDATE side SET body = body || zeroblob(20000) WHERE worker = ?", (worker,))
        db.execute("ROLLBACK")
    db.execute("BEGIN IMMEDIATE")
    try:
        db.execute("INSERT INTO side VALUES(?, ?, ?)", (worker, n, f"{worker}:{n};" * repeats))
        db.execute("DELETE FROM side WHERE worker = ? AND n <= ?", (worker, n - 40))
        db.execute("INSERT OR REPLACE INTO tally VALUES(?, ?)", (worker, n))
        db.execute("COMMIT")
    except sqlite3.Error:
        if db.in_transaction:
            db.execute("ROLLBACK")
        raise


def side():
    file = os.open(role["progress"], os.O_CREAT | os.O_WRONLY)

    def opened():
        db = connect()
        db.execute(f"PRAGMA wal_autocheckpoint = {work['autocheckpoint']}")
        db.execute("PRAGMA synchronous = " + ("FULL" if work["full_sync"] else "NORMAL"))
        db.execute("PRAGMA cache_size = 10")
        return db

    db, committed, busy, times = opened(), 0, 0, []
    tell(file, 0, 0, 0)
    reopen = work["reopen_every"]
    while not stopped(1 / work["rate"]):
        if reopen and committed % reopen == reopen - 1:
            db.close()
            db = opened()
        tell(file, committed + 1, committed, busy)
        began = time.monotonic()
        try:
            commit(db, work["worker"], committed + 1)
            committed += 1
        except sqlite3.OperationalError as error:
            if not is_busy(error):
                raise
            busy += 1
        times.append(time.monotonic() - began)
        tell(file, committed, committed, busy)
    return committed, busy, 0, times


def checkpoints():
    db, done, incomplete, times = connect(), 0, 0, []
    while not stopped(work["pause_ms"] / 1000):
        mode = work["modes"][done % len(work["modes"])]
        began = time.monotonic()
        incomplete += db.execute(f"PRAGMA wal_checkpoint({mode})").fetchone()[0] != 0
        times.append(time.monotonic() - began)
        done += 1
    return done, 0, incomplete, times


done, busy, incomplete, times = {"Side": side, "Checkpoints": checkpoints}[kind]()
times = sorted(times) or [0]
quantile = lambda part: times[max(0, -int(-len(times) * part // 1) - 1)] * 1000
with open(role["outcome"], "w") as out:
    json.dump({"done": done, "busy": busy, "incomplete": incomplete,
               "times": {"p50": quantile(0.5), "p99": quantile(0.99), "max": quantile(1)}}, out)
