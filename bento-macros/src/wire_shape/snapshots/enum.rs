#[automatically_derived]
impl framework::__private::shape::WireShape for State {
    #[allow(unused_variables, deprecated)]
    fn wire_shape(
        __bento_shapes: &mut framework::__private::shape::Shapes,
    ) -> framework::__private::shape::Node {
        __bento_shapes
            .define::<
                Self,
            >(|__bento_shapes| framework::__private::shape::Node::Choice(framework::__private::shape::Choice {
                tagging: framework::__private::shape::Tagging::Adjacent {
                    tag: framework::__private::From::from("state"),
                    content: framework::__private::From::from("data"),
                },
                variants: framework::__private::Vec::from([
                    framework::__private::shape::Variant {
                        name: framework::__private::From::from("open"),
                        aliases: framework::__private::Vec::from([]),
                        content: framework::__private::shape::Node::Nothing,
                        is_written: true,
                        is_read: true,
                        is_other: false,
                        is_untagged: false,
                    },
                    framework::__private::shape::Variant {
                        name: framework::__private::From::from("paid"),
                        aliases: framework::__private::Vec::from([]),
                        content: framework::__private::shape::Node::Object(framework::__private::shape::Object {
                            fields: framework::__private::Vec::from([
                                framework::__private::shape::Field {
                                    name: framework::__private::From::from("at"),
                                    aliases: framework::__private::Vec::from([]),
                                    node: <Moment as framework::__private::shape::WireShape>::wire_shape(
                                        __bento_shapes,
                                    ),
                                    written: framework::__private::shape::Written::Always,
                                    read: framework::__private::shape::Read::ByType,
                                },
                            ]),
                            flattened: framework::__private::Vec::from([]),
                            is_closed: false,
                        }),
                        is_written: true,
                        is_read: true,
                        is_other: false,
                        is_untagged: false,
                    },
                    framework::__private::shape::Variant {
                        name: framework::__private::From::from("moved"),
                        aliases: framework::__private::Vec::from([]),
                        content: framework::__private::shape::Node::Tuple(
                            framework::__private::Vec::from([
                                framework::__private::shape::Element {
                                    node: <Place as framework::__private::shape::WireShape>::wire_shape(
                                        __bento_shapes,
                                    ),
                                    written: framework::__private::shape::Written::Always,
                                    read: framework::__private::shape::Read::Required,
                                },
                            ]),
                        ),
                        is_written: false,
                        is_read: true,
                        is_other: false,
                        is_untagged: false,
                    },
                ]),
                is_closed: false,
            }))
    }
}
