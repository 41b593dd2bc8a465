//! The `gwproxy` command.

use std::{io::Write, process::ExitCode};

use clap::Parser;
use color_eyre::Result;
use gwproxy::{
    local::portable,
    notify::Manager,
    start::{Controller, Home, Local, StartError},
};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing_subscriber::EnvFilter;

use args::{Args, Command, Output, ValidateArgs};

mod args;

const INVALID: u8 = 1;
const PROBLEMS: u8 = 1;
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
                    StartError::Refused(_) => PROBLEMS,
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
            let manager = Manager::from_env();
            if let Some(manager) = &manager {
                manager.ready(&format!("API on {}", local.api));
            }
            tokio::select! {
                () = signals.first() => {}
                () = stay_alive(manager.as_ref(), &local) => {}
            }
            if let Some(manager) = &manager {
                manager.stopping();
            }
            signals.unless(local.stop()).await;
        }
        // Needs no runtime.
        Command::Validate(_) => {}
        Command::Export(args) => {
            let selection = args.selection();
            let Some(home) = signals.unless(Home::open(args.home.kubeconfig, args.home.data, false)).await else {
                return Ok(());
            };
            let home = home?;
            let exported = signals.unless(portable::export(&home.client, &selection)).await;
            home.close().await;
            if let Some(objects) = exported {
                std::io::stdout().write_all(portable::to_yaml(&objects?)?.as_bytes())?;
            }
        }
        Command::Import(args) => {
            let mut objects = Vec::new();
            for file in &args.files {
                let text = match file.as_os_str() == "-" {
                    true => std::io::read_to_string(std::io::stdin()),
                    false => std::fs::read_to_string(file),
                };
                let failed = |why: String| StartError::Usage(format!("{}: {why}", file.display()));
                let text = text.map_err(|error| failed(error.to_string()))?;
                objects.extend(portable::from_yaml(&text).map_err(|error| failed(error.to_string()))?);
            }
            let Some(home) = signals.unless(Home::open(args.home.kubeconfig, args.home.data, true)).await else {
                return Ok(());
            };
            let home = home?;
            let mut refused = 0;
            let importing = portable::import(&home.client, objects, |object, outcome| match outcome {
                Ok(outcome) => println!("{object} {}", format!("{outcome:?}").to_lowercase()),
                Err(why) => {
                    refused += 1;
                    eprintln!("gwproxy: {object}: {why}");
                }
            });
            let imported = signals.unless(importing).await;
            home.close().await;
            imported.transpose()?;
            if refused > 0 {
                return Err(StartError::Refused(refused).into());
            }
        }
        Command::RotateToken(args) => println!("{}", gwproxy::start::rotate_token(args.data, args.kubeconfig)?),
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

/// Tells the service manager that the service is alive, while it is.
async fn stay_alive(manager: Option<&Manager>, local: &Local) {
    let Some((manager, every)) = manager.and_then(|manager| Some((manager, manager.watchdog()?))) else {
        return std::future::pending().await;
    };
    let mut tick = tokio::time::interval(every);
    loop {
        tick.tick().await;
        if local.is_alive(every).await {
            manager.alive();
        }
    }
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
