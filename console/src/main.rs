//! gwtop: parses the command line, connects, hands over.

use std::{borrow::Cow, ffi::OsString, fs, io::IsTerminal as _, process::ExitCode};

use clap::Parser as _;
use gwtop::{
    app::Look,
    canary::{
        self, Order, Settings,
        command::Output,
        operate::{self, Resumed},
        plan::RouteRef,
    },
    check::{self, catalogue::Suite},
    cluster::connect::{ConnectError, ConnectOptions, Connection, connect},
    exit::Exit,
    migrate::{self, command::Read, profile},
    settings::gwtop_state,
    theme::Palette,
};
use tracing_subscriber::EnvFilter;

use self::args::{
    Cli, Command, Format, Global, When,
    canary::{Action, Canary, Run},
    check::Check,
    migrate::{Manifests, Migrate},
    run,
};

mod args;
mod questions;
mod screens;

fn main() -> ExitCode {
    // Both TLS users of the process would otherwise choose a library by themselves.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let cli = Cli::parse();
    if let Err(error) = color_eyre::install() {
        eprintln!("gwtop: {error}");
    }
    log();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("gwtop: cannot start: {error}");
            return Exit::Internal.into();
        }
    };
    let exit = runtime.block_on(start(cli));
    // A read of a terminal or a name that never resolves must not keep the process.
    runtime.shutdown_background();
    exit.into()
}

/// `$XDG_STATE_HOME/gwtop/gwtop.log`, as much as `GWTOP_LOG` asks for.
fn log() {
    let folder = gwtop_state();
    let file = fs::create_dir_all(&folder)
        .and_then(|()| fs::OpenOptions::new().create(true).append(true).open(folder.join("gwtop.log")));
    // Without a place to log to, gwtop still works.
    if let Ok(file) = file {
        let filter = EnvFilter::try_from_env("GWTOP_LOG").unwrap_or_else(|_| EnvFilter::new("info,kube_client=warn"));
        tracing_subscriber::fmt().with_env_filter(filter).with_ansi(false).with_writer(file).init();
    }
}

async fn start(cli: Cli) -> Exit {
    let Cli { global, command } = cli;
    match command {
        None => console(global).await,
        Some(Command::Demo(demo)) => screens::demo(demo, look(&global)).await,
        Some(Command::Record(args)) => {
            let (options, urls) = (options(&global), global.metrics_urls.clone());
            Box::pin(screens::record(options, urls, &args.file, args.time)).await
        }
        Some(Command::Replay(args)) => screens::replay(&args, look(&global)).await,
        Some(Command::Canary(canary)) => run_canary(&global, *canary).await,
        Some(Command::Check(args)) => Box::pin(run_check(&global, *args, Suite::Check, (1, 36))).await,
        Some(Command::Preflight(args)) => Box::pin(run_check(&global, args.check, Suite::Preflight, args.target)).await,
        Some(Command::Explain(args)) => check::command::explain(args.id.as_deref()),
        Some(Command::Migrate(args)) => Box::pin(run_migrate(&global, *args)).await,
        Some(Command::Question(question)) => Box::pin(questions::ask(&global, question)).await,
    }
}

async fn console(global: Global) -> Exit {
    if !std::io::stdout().is_terminal() {
        eprintln!("gwtop: the console needs a terminal; for scripts there is `gwtop status`");
        return Exit::Usage;
    }
    let look = look(&global);
    screens::console(options(&global), global.metrics_urls, look).await
}

fn options(global: &Global) -> ConnectOptions {
    ConnectOptions {
        kubeconfig: global.kubeconfig.clone(),
        context: global.context.clone(),
        cluster: global.cluster.clone(),
        user: global.user.clone(),
        namespace: global.namespace.clone(),
        request_timeout: global.request_timeout,
    }
}

fn look(global: &Global) -> Look {
    let palette = match global.color {
        When::Auto => None,
        When::Always => Some(Palette::Rgb),
        When::Never => Some(Palette::None),
    };
    Look { theme: global.theme.clone(), palette, readonly: global.readonly }
}

fn complain(error: &ConnectError) -> Exit {
    eprintln!("gwtop: {error}");
    Exit::Unreachable
}

async fn run_canary(global: &Global, canary: Canary) -> Exit {
    let line: Vec<OsString> = std::env::args_os().collect();
    match canary.action {
        Some(action) => Box::pin(act(global, action)).await,
        None => Box::pin(begin(global, canary.run, line)).await,
    }
}

async fn begin(global: &Global, args: Run, mut line: Vec<OsString>) -> Exit {
    let (mut global, mut args) = (Cow::Borrowed(global), args);
    let format = output(args.output);
    let blank = Settings::new(global.namespace.clone().unwrap_or_default(), None);
    let context = global.context.clone().unwrap_or_default();
    let usage = |why: &str| canary::command::refused(&blank, &context, format, Exit::Usage, why);
    if let Some(file) = args.plan.take() {
        line = match run::expand(&line, &file) {
            Ok(line) => line,
            Err(why) => return usage(&why),
        };
        match Cli::try_parse_from(&line) {
            Ok(Cli { global: with_plan, command: Some(Command::Canary(canary)) }) => {
                (global, args) = (Cow::Owned(with_plan), canary.run);
            }
            Ok(_) => return usage(&format!("plan {}: it does not make a canary", file.display())),
            Err(error) => return usage(&format!("plan {}: {error}", file.display())),
        }
    }
    let (output, on_interrupt) = (output(args.output), args.on_interrupt);
    let quiet = args.yes || !std::io::stderr().is_terminal();
    // What is wrong whatever the cluster says needs no cluster to be told.
    let settings = match run::settings(&global, args, "") {
        Ok(settings) => settings,
        Err(why) => return usage(&why),
    };
    let connection: Connection = match connect(&options(&global)).await {
        Ok(connection) => connection,
        Err(error) => {
            let exit = Exit::Unreachable;
            return canary::command::refused(&settings, &context, output, exit, &error.to_string());
        }
    };
    let namespace =
        if settings.namespace.is_empty() { connection.namespace.clone() } else { settings.namespace.clone() };
    if !quiet {
        eprintln!("gwtop: context {}, {}", connection.context, connection.cluster_url);
    }
    let mut settings = Settings { namespace, ..settings };
    settings.arguments = run::kept(&line, &settings);
    Box::pin(canary::command::run(connection, settings, output, on_interrupt)).await
}

fn output(format: Format) -> Output {
    if format == Format::Json { Output::Json } else { Output::Text }
}

fn usage(why: &str) -> Exit {
    eprintln!("gwtop: {why}");
    Exit::Usage
}

/// Subcommands on runs that are under way elsewhere.
async fn act(global: &Global, action: Action) -> Exit {
    let which = match &action {
        Action::Status { which, .. }
        | Action::Resume { which, .. }
        | Action::Rollback { which, .. }
        | Action::Pause(which)
        | Action::Step(which)
        | Action::Promote(which) => which.route.as_deref().map(RouteRef::parse).transpose(),
        Action::Gc { .. } => Ok(None),
    };
    let which = match which {
        Ok(which) => which,
        Err(why) => return usage(&why),
    };
    let connection = match connect(&options(global)).await {
        Ok(connection) => connection,
        Err(error) => {
            let format = match &action {
                Action::Rollback { output, .. } | Action::Resume { output, .. } | Action::Gc { output, .. } => *output,
                _ => Format::Text,
            };
            let settings = Settings { routes: which.into_iter().collect(), ..Settings::new("", None) };
            let context = global.context.clone().unwrap_or_default();
            return canary::command::refused(
                &settings,
                &context,
                output(format),
                Exit::Unreachable,
                &error.to_string(),
            );
        }
    };
    let (route, namespace) = (which.as_ref(), Some(connection.namespace.as_str()));
    match action {
        Action::Status { all_namespaces, wait, output, .. } => {
            let namespace = namespace.filter(|_| !all_namespaces);
            operate::status(&connection, namespace, route, output == Format::Json, wait).await
        }
        Action::Pause(_) => operate::order(&connection, namespace, route, Order::Pause).await,
        Action::Step(_) => operate::order(&connection, namespace, route, Order::Step).await,
        Action::Promote(_) => operate::order(&connection, namespace, route, Order::Promote).await,
        Action::Rollback { output: format, .. } => {
            operate::rollback(&connection, namespace, route, output(format)).await
        }
        Action::Gc { all_namespaces, rollback_expired, output: format } => {
            let namespace = namespace.filter(|_| !all_namespaces);
            operate::gc(&connection, namespace, rollback_expired, output(format)).await
        }
        Action::Resume { output, .. } => match operate::resume(&connection, namespace, route).await {
            Resumed::Told(exit) => exit,
            Resumed::Again(arguments) => again(global, arguments, output).await,
        },
    }
}

/// Takes a run up with the arguments that it was started with.
async fn again(global: &Global, arguments: Vec<String>, output: Format) -> Exit {
    let line: Vec<OsString> =
        ["gwtop".to_owned(), "canary".to_owned()].into_iter().chain(arguments).map(OsString::from).collect();
    match Cli::try_parse_from(&line) {
        Ok(Cli { global: theirs, command: Some(Command::Canary(canary)) }) => {
            let ours = Global { namespace: theirs.namespace, metrics_urls: theirs.metrics_urls, ..global.clone() };
            Box::pin(begin(&ours, Run { output, ..canary.run }, line)).await
        }
        Ok(_) => usage("what the run was started with is no canary"),
        Err(error) => usage(&format!("what the run was started with is not understood: {error}")),
    }
}

async fn run_migrate(global: &Global, args: Migrate) -> Exit {
    if args.watch {
        let connection = match connect(&self::options(global)).await {
            Ok(connection) => connection,
            Err(error) => return complain(&error),
        };
        let namespace = (!args.all_namespaces).then_some(connection.namespace.as_str());
        let options = check::Options { ingress_classes: args.ingress_class, ..check::Options::default() };
        let json = args.output == Manifests::Json;
        return migrate::command::watch::watch(&connection, namespace, &options, args.interval, json).await;
    }
    let options = migrate::Options {
        profile: profile::find(&args.profile).unwrap_or(profile::PROFILES[0]),
        gateway_class: args.gateway_class,
        layout: args.layout,
        gateway_name: args.gateway,
        gateway_namespace: args.gateway_namespace,
        ingress_classes: args.ingress_class,
        ..migrate::Options::default()
    };
    let connection = if args.filename.is_empty() || args.dry_run.is_some() {
        match connect(&self::options(global)).await {
            Ok(connection) => Some(connection),
            Err(error) => return complain(&error),
        }
    } else {
        None
    };
    let mut read = Read::default();
    for path in &args.filename {
        if let Err(why) = read.path(path) {
            eprintln!("gwtop: {why}");
            return Exit::Usage;
        }
    }
    if let (true, Some(connection)) = (args.filename.is_empty(), &connection) {
        let namespace = (!args.all_namespaces).then_some(connection.namespace.as_str());
        read = match migrate::command::read_cluster(connection, namespace).await {
            Ok(read) => read,
            Err(why) => {
                eprintln!("gwtop: {why}");
                return Exit::Unreachable;
            }
        };
    }
    let run = migrate::command::Run {
        json: args.output == Manifests::Json,
        output_dir: args.output_dir,
        reports: args.report,
        plan: args.plan,
        prove: args.prove,
        replay: args.replay,
        min_fidelity: args.min_fidelity,
        verbose: args.verbose,
        server_dry_run: args.dry_run.is_some(),
        live: args.live.try_into().ok(),
        timeout: global.request_timeout,
    };
    let namespace = global.namespace.as_deref().unwrap_or("default");
    Box::pin(migrate::command::run(read, namespace, &options, &run, connection.as_ref())).await
}

async fn run_check(global: &Global, args: Check, suite: Suite, target: (u32, u32)) -> Exit {
    let offline = args.offline;
    let (options, run) = args.split(global.namespace.clone(), suite, target);
    let connection = match offline {
        true => None,
        false => match connect(&self::options(global)).await {
            Ok(connection) => Some(connection),
            Err(ConnectError::NoKubeconfig { .. }) if !run.files.is_empty() => {
                eprintln!("gwtop: no cluster is named: only the files are looked at");
                None
            }
            Err(error) => return complain(&error),
        },
    };
    check::command::command(connection.as_ref(), &options, &run).await
}
