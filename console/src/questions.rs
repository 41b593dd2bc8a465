//! From the flags of a question to its answer.

use gwtop::{
    cluster::{connect::connect, snapshot},
    exit::Exit,
    query::{self, describe, events, get, status, top, tree, why},
};
use jiff::Timestamp;

use crate::{
    args::{Global, query::Question},
    complain, options,
};

pub(crate) async fn ask(global: &Global, question: Question) -> Exit {
    let connection = match connect(&options(global)).await {
        Ok(connection) => connection,
        Err(error) => return complain(&error),
    };
    let own = connection.namespace.clone();
    match question {
        Question::Status(args) => {
            let chosen = match &args.selector {
                Some(labels) => match status::labelled(&connection, labels).await {
                    Ok(chosen) => Some(chosen),
                    Err(refusal) => return query::refuse(&refusal),
                },
                None => None,
            };
            let scope = args.place.scope(&own);
            query::run(&connection, scope.watch, |store, now| {
                status::answer(store, now, &scope, &chosen, args.output, &connection.context)
            })
            .await
        }
        Question::Why(args) => {
            query::run(&connection, args.watch, |store, now| why::answer(store, now, &args.object, &own, args.output))
                .await
        }
        Question::Tree(args) => {
            let scope = args.place.scope(&own);
            query::run(&connection, scope.watch, |store, _| {
                tree::answer(store, &args.object, &own, &scope, args.output)
            })
            .await
        }
        Question::Get(args) => {
            let scope = args.place.scope(&own);
            query::run(&connection, scope.watch, |store, now| {
                let wanted = get::Wanted::parse(&args.what)?;
                get::answer(store, now, &wanted, &scope, args.output)
            })
            .await
        }
        Question::Describe(args) => {
            let store = snapshot::everything(&connection).await;
            let key = match query::find(&store, &args.object, &own) {
                Ok(key) => key,
                Err(refusal) => return query::refuse(&refusal),
            };
            let happened = events::of(&connection, &key).await;
            match describe::answer(&store, Timestamp::now(), &key, &happened) {
                Ok(answer) => {
                    query::print(&answer.text);
                    answer.exit
                }
                Err(refusal) => query::refuse(&refusal),
            }
        }
        Question::Events(args) => {
            let scope = args.place.scope(&own);
            let key = if args.object.is_empty() {
                None
            } else {
                let store = snapshot::everything(&connection).await;
                match query::find(&store, &args.object, &own) {
                    Ok(key) => Some(key),
                    Err(refusal) => return query::refuse(&refusal),
                }
            };
            events::run(&connection, &scope, key.as_ref(), args.output).await
        }
        Question::Top(args) => {
            let scope = args.place.scope(&own);
            top::run(&connection, global.metrics_urls.clone(), args.by.tab(), &scope, args.output).await
        }
    }
}
