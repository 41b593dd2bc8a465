//! The `gwproxy` command.

use std::process::ExitCode;

use clap::Parser;
use color_eyre::Result;
use gwproxy::start::{Controller, Local, StartError};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing_subscriber::EnvFilter;

use args::{Args, Command, Output, ValidateArgs};

mod args;

const INVALID: u8 = 1;
const USAGE: u8 = 2;
const UNREACHABLE: u8 = 8;
const INTERNAL: u8 = 70;

fn main() -> ExitCode {
    let args = Args::parse();
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("warn,gwproxy=info"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_target(false).init();
    if let Command::Validate(args) = args.command {
        return validate(&args);
    }
    let run = color_eyre::install().and_then(|()| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(run(args))
    });
    match run {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => match error.downcast_ref::<StartError>() {
            Some(refused) => {
                eprintln!("gwproxy: {refused}");
                ExitCode::from(match refused {
                    StartError::Usage(_) => USAGE,
                    StartError::Unreachable(_) => UNREACHABLE,
                })
            }
            None => {
                eprintln!("gwproxy: {error:?}");
                ExitCode::from(INTERNAL)
            }
        },
    }
}

fn validate(args: &ValidateArgs) -> ExitCode {
    let report = match gwproxy::validate::validate(&args.files, args.address_pool) {
        Ok(report) => report,
        Err(error) => {
            eprintln!("gwproxy: {error}");
            return ExitCode::from(USAGE);
        }
    };
    match args.output {
        Output::Table => print!("{}", report.table()),
        Output::Json => println!("{:#}", report.json()),
        Output::Yaml => match serde_saphyr::to_string(&report.json()) {
            Ok(text) => print!("{text}"),
            Err(error) => {
                eprintln!("gwproxy: the report cannot be written as YAML: {error}");
                return ExitCode::from(INTERNAL);
            }
        },
    }
    if report.is_valid() { ExitCode::SUCCESS } else { ExitCode::from(INVALID) }
}

async fn run(args: Args) -> Result<()> {
    let mut signals = Signals::new()?;
    match args.command {
        Command::Local(args) => {
            let Some(local) = signals.unless(Local::start(args.into())).await else { return Ok(()) };
            let local = local?;
            let kubeconfig = local.kubeconfig.display();
            eprintln!("local API  https://{}", local.api);
            eprintln!("kubeconfig {kubeconfig}");
            eprintln!("metrics    http://{}/metrics", local.metrics);
            eprintln!("try        export KUBECONFIG={kubeconfig}; kubectl get gateways,httproutes -A");
            for problem in &local.problems {
                eprintln!("manifests  {problem}");
            }
            signals.first().await;
            signals.unless(local.stop()).await;
        }
        // Needs no runtime.
        Command::Validate(_) => {}
        Command::Controller(args) => {
            let Some(controller) = signals.unless(Controller::start(args.into())).await else { return Ok(()) };
            let controller = controller?;
            eprintln!("metrics    http://{}/metrics", controller.metrics);
            signals.first().await;
            signals.unless(controller.stop()).await;
        }
    }
    Ok(())
}

struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn new() -> Result<Self> {
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    async fn first(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }

    /// `None` when a signal came before the end: it is not waited for.
    async fn unless<T>(&mut self, work: impl Future<Output = T>) -> Option<T> {
        tokio::select! {
            done = work => Some(done),
            () = self.first() => None,
        }
    }
}
