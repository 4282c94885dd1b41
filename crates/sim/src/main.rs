//! Command line of the simulator.

use std::process::ExitCode;

use dynamo_lock_sim::{explore, handoff, mutants, once, sets, threads, world};

const USAGE: &str = "\
Searches for executions of dynamo-lock that break a promise.

usage: dynamo-lock-sim COMMAND

  run [OPTION…]                 runs the real client in random worlds, one for each seed
    --seeds N                   number of worlds [default: 1000]
    --from N                    first seed [default: 0]
    --jobs N                    threads [default: 2]
    --seed N                    runs one world only; with --trace it prints what happens in it
    --world model|sdk|sqlite    store under the client [default: model]; the others need the feature `stacks`
    --mutant NAME               runs with a fault that the checks must notice
    --reduce LIST               leaves parts out of the worlds, for example pauses,crashes,hosts=2,phase=20000
  shrink SEED [OPTION…]         finds a smaller world that breaks the same promise
  explore [--all | CONFIG] [--mutant NAME]
                                searches small configurations exhaustively
  sets [--mutant NAME]          searches all orders of events of several locks that are acquired together
  once [--seeds N] [--from N] [--jobs N]
                                plays random histories of work that runs once, with the real client
  handoff [OPTION…]             measures how quickly waiters notice a release, and checks the bounds on their reads
    --quick                     measures a tenth of the handoffs
    --waiters N, --holds NAME   runs only these worlds
  threads [OPTION…]             runs the real client on real threads and clocks
    --minutes N                 length of the run [default: 1]
    --rounds N                  acquisitions after which it ends, if that is earlier
    --tasks N                   tasks [default: 64]
    --seed N                    seed of the random numbers [default: 0]
    --delete-rows               deletes rows of held locks, which the checks must notice
  mutants [--list] [NAME…]      searches for each mutant, and compares the result with the expected one

exit status: 0 success, 1 a promise is broken or a result is not the expected one, 64 usage error";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let code = match args.first().map(String::as_str) {
        Some("run") => world::main(&args[1..]),
        Some("shrink") => world::shrink(&args[1..]),
        Some("explore") => explore::main(&args[1..]),
        Some("sets") => sets::main(&args[1..]),
        Some("once") => once::main(&args[1..]),
        Some("handoff") => handoff::main(&args[1..]),
        Some("threads") => threads::main(&args[1..]),
        Some("mutants") => mutants::command::main(&args[1..]),
        Some("-h" | "--help" | "help") => {
            println!("{USAGE}");
            Ok(ExitCode::SUCCESS)
        }
        _ => Err(USAGE.to_owned()),
    };
    code.unwrap_or_else(|message| {
        eprintln!("{message}");
        ExitCode::from(64)
    })
}
