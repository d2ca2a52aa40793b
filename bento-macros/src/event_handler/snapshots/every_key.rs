async fn write(event: Envelope) -> Result<Option<Audited>, HandleError> {
    Ok(None)
}
/// The handler `write`, to be added to a set: `.add(write::handler())`.
#[allow(dead_code, missing_debug_implementations, non_camel_case_types)]
struct write {}
#[allow(dead_code, deprecated)]
impl write {
    /// Returns the handler, for an application whose state has what it takes.
    fn handler<__AppState>() -> framework::handlers::__private::Handler<__AppState> {
        static __BENTO_HANDLER: framework::handlers::__private::HandlerDescriptor = framework::handlers::__private::HandlerDescriptor {
            name: "audit.write",
            events: framework::handlers::__private::events::<Envelope>(true),
            patterns: framework::handlers::__private::patterns::<
                Envelope,
            >(&["order.*", "invoice.paid"]),
            effect: framework::handlers::__private::the_one(
                framework::handlers::__private::one_more(
                    framework::handlers::__private::Effect::None,
                    <Result<
                        Option<Audited>,
                        HandleError,
                    > as framework::handlers::__private::HandlerResult>::EFFECT,
                    <Envelope as framework::handlers::__private::HandlerInput>::IS_BATCH,
                ),
            ),
            is_batch: <Envelope as framework::handlers::__private::HandlerInput>::IS_BATCH,
            timeout: framework::handlers::__private::Some(
                framework::handlers::__private::Duration::new(60u64, 500000000u32),
            ),
            concurrency: framework::handlers::__private::Some(
                framework::handlers::__private::at_once::<Envelope>(16u32),
            ),
            retry: framework::handlers::__private::Some("patient"),
            is_ordered: false,
            from: framework::handlers::__private::StartFrom::Beginning,
            declared: framework::handlers::__private::Declaration {
                module_path: framework::handlers::__private::module_path!(),
                package: "bento-macros",
                package_version: "1.2.3",
                file: framework::handlers::__private::file!(),
                line: framework::handlers::__private::line!(),
            },
            docs: "",
            states: &[],
            run: |__bento_call| framework::handlers::__private::run(
                move || framework::handlers::__private::Ok(
                    write(
                        framework::handlers::__private::input::<Envelope>(__bento_call)?,
                    ),
                ),
                |__bento_output| <Result<
                    Option<Audited>,
                    HandleError,
                > as framework::handlers::__private::HandlerResult>::finish(
                    __bento_output,
                ),
            ),
        };
        framework::handlers::__private::inventory::submit! {
            framework::handlers::__private::HandlerRegistration(& __BENTO_HANDLER)
        }
        #[cfg(not(test))]
        #[unsafe(export_name = "bento__handler__audit__write__is_declared_twice")]
        static __BENTO_IS_DECLARED_TWICE: framework::handlers::__private::u8 = 0;
        framework::handlers::__private::Handler::new(
            &__BENTO_HANDLER,
            |__bento_state, __bento_provided| {},
        )
    }
}
