//! gwtop: parses the command line, connects, hands over.

use std::{fs, io::IsTerminal as _, process::ExitCode};

use clap::Parser as _;
use gwtop::{
    app::Look,
    canary::{self, Settings, command::Output},
    cluster::connect::{ConnectError, ConnectOptions, Connection, connect},
    exit::Exit,
    migrate::{
        self,
        command::{Read, Run},
        profile,
    },
    settings::gwtop_state,
    status,
    theme::Palette,
};
use tracing_subscriber::EnvFilter;

use self::args::{Canary, Cli, Command, Format, Global, Manifests, Migrate, When};

mod args;
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
    let exit = runtime.block_on(run(cli));
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

async fn run(cli: Cli) -> Exit {
    let Cli { global, command } = cli;
    match command {
        None => console(global).await,
        Some(Command::Demo(demo)) => screens::demo(demo.headless, demo.pictures, look(&global)).await,
        Some(Command::Canary(canary)) => run_canary(&global, *canary).await,
        Some(Command::Migrate(args)) => Box::pin(run_migrate(&global, *args)).await,
        Some(Command::Status(args)) => {
            let connection = match connect(&options(&global)).await {
                Ok(connection) => connection,
                Err(error) => return complain(&error),
            };
            let namespace = (!args.all_namespaces).then_some(connection.namespace.as_str());
            status::run(&connection, namespace, args.selector.as_deref(), args.output == Format::Json).await
        }
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

async fn run_canary(global: &Global, args: Canary) -> Exit {
    let (output, on_interrupt) =
        (if args.output == Format::Json { Output::Json } else { Output::Text }, args.on_interrupt);
    let quiet = args.yes || !std::io::stderr().is_terminal();
    // What is wrong whatever the cluster says needs no cluster to be told.
    let settings = match settings(global, args, "") {
        Ok(settings) => settings,
        Err(why) => {
            eprintln!("gwtop: {why}");
            return Exit::Usage;
        }
    };
    let connection: Connection = match connect(&options(global)).await {
        Ok(connection) => connection,
        Err(error) => return complain(&error),
    };
    let namespace =
        if settings.namespace.is_empty() { connection.namespace.clone() } else { settings.namespace.clone() };
    if !quiet {
        eprintln!("gwtop: context {}, {}", connection.context, connection.cluster_url);
    }
    Box::pin(canary::command::run(connection, Settings { namespace, ..settings }, output, on_interrupt)).await
}

fn settings(global: &Global, args: Canary, namespace: &str) -> Result<Settings, String> {
    let (given, route) = match args.route.as_deref().map(|route| route.split_once('/').ok_or(route)) {
        Some(Ok((namespace, name))) => (Some(namespace.to_owned()), Some(name.to_owned())),
        Some(Err(name)) => (None, Some(name.to_owned())),
        None => (None, None),
    };
    if route.as_deref().is_some_and(|name| name.is_empty() || name.contains('/')) || given.as_deref() == Some("") {
        return Err(format!("{:?} is not a route: write it as NAME or NAMESPACE/NAME", args.route.unwrap_or_default()));
    }
    if let (Some(given), Some(flag)) = (&given, &global.namespace)
        && given != flag
    {
        return Err(format!("the route is in namespace {given}, --namespace says {flag}: leave one of them out"));
    }
    let namespace = given.or_else(|| global.namespace.clone()).unwrap_or_else(|| namespace.to_owned());
    let settings = Settings {
        step: args.step,
        max: args.max,
        promote: args.promote,
        interval: args.interval,
        check: args.check,
        check_timeout: args.check_timeout,
        probe_every: args.check_every,
        max_error_rate: args.max_error_rate,
        max_p99: args.max_p99,
        min_requests: args.min_requests,
        metrics_urls: global.metrics_urls.clone(),
        no_metrics: args.no_metrics,
        scrape_every: args.scrape_every,
        rule: args.rule,
        stable: args.stable,
        canary: args.canary,
        adopt: args.adopt,
        take_over: args.take_over,
        rollback: args.rollback,
        dry_run: args.dry_run,
        hold: args.hold,
        converge: args.converge,
        ..Settings::new(namespace, route)
    };
    settings.validate()?;
    Ok(settings)
}

async fn run_migrate(global: &Global, args: Migrate) -> Exit {
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
    let run = Run {
        json: args.output == Manifests::Json,
        output_dir: args.output_dir,
        reports: args.report,
        plan: args.plan,
        prove: args.prove,
        replay: args.replay,
        min_fidelity: args.min_fidelity,
        verbose: args.verbose,
        server_dry_run: args.dry_run.is_some(),
    };
    let namespace = global.namespace.as_deref().unwrap_or("default");
    Box::pin(migrate::command::run(read, namespace, &options, &run, connection.as_ref())).await
}
