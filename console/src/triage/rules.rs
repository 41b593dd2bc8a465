//! The catalogue: every rule with its id, which never changes, and what it means.

use crate::finding::{Finding, Object, Rule, Severity};

macro_rules! rules {
    ($($name:ident $id:literal $severity:ident $title:literal, $why:literal, $fix:literal;)*) => {
        $(pub static $name: Rule = Rule {
            id: $id, severity: Severity::$severity, title: $title, why: $why, fix: $fix,
        };)*

        /// All of them, in the order of their ids.
        pub static RULES: &[&Rule] = &[$(&$name),*];
    };
}

/// A finding of a rule, as grave as the rule.
pub fn found(rule: &'static Rule, object: impl Into<Object>, title: impl Into<String>) -> Finding {
    Finding::new(rule.id, rule.severity, object, title)
}

rules! {
    // Classes and Gateways.
    CLASS_MISSING "GWT001" Error "The GatewayClass of a Gateway exists",
        "Without its class nobody knows which controller serves the Gateway: it gets no address and none of its routes is served.",
        "Correct spec.gatewayClassName, or create the class.";
    CLASS_REFUSED "GWT002" Error "The GatewayClass is accepted",
        "The controller refuses the class, often for a parametersRef that it cannot read. No Gateway of the class is served.",
        "Read the condition's message, and mend the class or its parameters.";
    CLASS_SILENT "GWT003" Error "A controller answers for the GatewayClass",
        "No controller with that controllerName has taken the class up: it is not installed, not running, or called otherwise.",
        "Install or start the controller, or correct spec.controllerName.";
    GATEWAY_SILENT "GWT004" Error "The controller has answered for the Gateway",
        "The controller has said nothing about this Gateway, though it answers for the class. It may be down, or may not watch this namespace.",
        "Look at the controller's log, and at what it is configured to watch.";
    GATEWAY_STALE "GWT005" Warning "The status of the Gateway is about its present spec",
        "The controller has not come to the last change: what the status says is about an older generation.",
        "Wait some seconds; if it stays, look at the controller's log.";
    GATEWAY_REFUSED "GWT006" Error "The Gateway is accepted",
        "The controller refuses the Gateway as a whole; none of its listeners works.",
        "Read the condition's message; the reason names the field.";
    GATEWAY_NOT_PROGRAMMED "GWT007" Error "The Gateway is programmed",
        "The data plane does not run with this configuration: no address, no resources, or invalid listeners.",
        "Read the condition's message, then the data plane's pods and Service.";
    GATEWAY_NO_ADDRESS "GWT008" Warning "The Gateway has an address",
        "Nobody can reach a Gateway without address. In clusters without load balancer a Service of type LoadBalancer waits for ever.",
        "Give the cluster a load balancer, or ask for another type of Service.";
    LISTENER_CONFLICT "GWT009" Error "Listeners of one port can be told apart",
        "Two listeners share port, protocol and hostname, or one port is asked for with protocols that exclude each other. At most one of them works.",
        "Give them different hostnames or ports.";
    LISTENER_REFUSED "GWT010" Error "The listener is accepted and programmed",
        "The controller refuses this listener; routes that hang on it are not served there.",
        "Read the condition's message.";
    CERTIFICATE_MISSING "GWT011" Error "The Secret of a listener's certificate exists",
        "Without certificate no TLS handshake succeeds: clients see a reset connection.",
        "Create the Secret, or correct the reference. With cert-manager, look at the Certificate.";
    CERTIFICATE_UNUSABLE "GWT012" Error "The Secret of a listener holds a certificate",
        "The Secret is there, but tls.crt or tls.key is missing or cannot be read.",
        "Make the Secret again: kubectl create secret tls.";
    CERTIFICATE_ENDED "GWT013" Error "The certificate of a listener has not ended",
        "Clients refuse a certificate outside its time.",
        "Renew the certificate; with cert-manager, find out why it was not renewed.";
    CERTIFICATE_ENDS "GWT014" Warning "The certificate of a listener does not end soon",
        "A certificate that should renew itself does so with a third of its time left. Fourteen days before its end something is wrong.",
        "Renew it now; with cert-manager, look at the Certificate's events.";
    CERTIFICATE_HOST "GWT015" Warning "The certificate of a listener covers its hostname",
        "Clients refuse a certificate that does not name the host that they asked for.",
        "Have the certificate issued for the listener's hostname.";
    CERTIFICATE_GRANT "GWT016" Error "A certificate of another namespace is granted",
        "A Gateway may read a Secret of another namespace only with a ReferenceGrant there.",
        "Add the ReferenceGrant in the namespace of the Secret.";
    LISTENER_NO_CERTIFICATE "GWT017" Error "A listener that ends TLS has a certificate",
        "HTTPS, and TLS in mode Terminate, need a certificate to answer with.",
        "Add tls.certificateRefs, or choose mode Passthrough on a TLS listener.";
    LISTENER_KINDS "GWT018" Error "The kinds that a listener allows fit its protocol",
        "allowedRoutes.kinds names kinds that this protocol cannot carry, so that nothing can attach.",
        "Name kinds that fit the protocol, or leave the field out.";
    LISTENER_UNUSED "GWT019" Info "A listener has routes",
        "Nothing is attached: clients get 404, or a reset connection.",
        "Remove the listener, or attach a route.";
    SELECTOR_EMPTY "GWT020" Warning "The namespace selector of a listener selects something",
        "No namespace has the labels that the listener asks for, so that no route can attach.",
        "Label the namespaces that are meant, or correct the selector.";
    SET_NOT_ALLOWED "GWT021" Error "The Gateway allows the ListenerSet",
        "A Gateway takes listeners from elsewhere only where spec.allowedListeners lets that namespace in; the default lets nobody in.",
        "Open spec.allowedListeners of the Gateway for that namespace.";
    SET_NO_PARENT "GWT022" Error "The Gateway of a ListenerSet exists",
        "The ListenerSet adds listeners to a Gateway that is not there.",
        "Correct spec.parentRef.";
    SET_REFUSED "GWT023" Error "The ListenerSet is accepted and programmed",
        "The controller refuses the ListenerSet, or has said nothing about it.",
        "Read the condition's message.";
    LISTENER_PASSTHROUGH "GWT024" Error "Passthrough is used on TLS listeners only",
        "An HTTPS listener reads requests, which it cannot without ending TLS.",
        "Use protocol TLS with a TLSRoute, or mode Terminate.";

    // From the route to the listener.
    NO_PARENTS "GWT101" Error "A route names a parent",
        "A route without parentRefs attaches to nothing and serves nothing.",
        "Add spec.parentRefs with the name of a Gateway.";
    PARENT_MISSING "GWT102" Error "The parent of a route exists",
        "The Gateway or ListenerSet that the route names is not there. Often its namespace is missing in the reference: the default is the route's own.",
        "Correct the parentRef's name or namespace.";
    PARENT_KIND "GWT103" Warning "The parent of a route is of a known kind",
        "Routes attach to Gateways, ListenerSets and, in a mesh, to Services. What another kind does is its controller's own matter.",
        "Correct kind and group of the parentRef.";
    SECTION_MISSING "GWT104" Error "The listener that a route names exists",
        "sectionName names a listener that the parent does not have.",
        "Correct sectionName, or leave it out to attach to every listener that fits.";
    PORT_MISSING "GWT105" Error "The parent has a listener on the port that a route names",
        "The parentRef asks for a port that no listener of the parent has.",
        "Correct the port, or leave it out.";
    PROTOCOL_MISMATCH "GWT106" Error "The protocol of the listener carries the kind of the route",
        "HTTPRoutes and GRPCRoutes need HTTP or HTTPS, TLSRoutes TLS, TCPRoutes TCP (or TLS that is ended), UDPRoutes UDP.",
        "Attach to a listener of the right protocol, or use another kind of route.";
    KIND_NOT_ALLOWED "GWT107" Error "The listener allows the kind of the route",
        "allowedRoutes.kinds of the listener leaves this kind out.",
        "Add the kind to the listener, or attach elsewhere.";
    NAMESPACE_NOT_ALLOWED "GWT108" Error "The listener allows the namespace of the route",
        "allowedRoutes.namespaces keeps the route out. The default, Same, lets in only the Gateway's own namespace; Selector asks for labels.",
        "Add the label to the namespace, or open the listener.";
    HOSTNAME_NO_MATCH "GWT109" Error "Hostnames of route and listener intersect",
        "A route is served for hostnames only that both it and the listener name. `*.example.com` stands for any depth of names below, not for example.com.",
        "Correct the hostname of the route or of the listener.";
    HOSTNAME_UNUSED "GWT110" Warning "Every hostname of a route is served by a listener",
        "The route is attached, but no listener of its parents serves this hostname of it.",
        "Remove the hostname, or add a listener for it.";
    PARENT_TWICE "GWT111" Warning "A route names each parent once",
        "The same parentRef is there twice; the API allows that only for different sections or ports.",
        "Remove one of them.";
    SHADOWED "GWT112" Warning "A match is not taken by an older route",
        "Two rules match exactly the same requests on the same listener. The older route wins, then the first by name; the other never sees a request.",
        "Merge the routes, or make the matches differ.";
    STREAM_TAKEN "GWT113" Error "A listener for streams has one route",
        "A TCP or UDP listener can serve one route only: the oldest. The others get nothing.",
        "Give each route a listener of its own, or name it by sectionName.";
    NAMESPACE_UNLABELLED "GWT114" Error "The namespace of a route exists",
        "The route's namespace is not in the list of namespaces: it is being deleted.",
        "Move the route.";

    // From the rule to the endpoints.
    NO_BACKENDS "GWT201" Warning "A rule has somewhere to send requests",
        "A rule without backendRefs and without a redirect answers every request with 500.",
        "Add backendRefs, or remove the rule.";
    BACKEND_KIND "GWT202" Warning "The kind of a backend is known",
        "Services and InferencePools are known; what another kind does is the implementation's own matter, and cannot be judged here.",
        "Look whether the implementation supports the kind.";
    SERVICE_MISSING "GWT203" Error "The Service of a backend exists",
        "Requests that this backend should get are answered with 500.",
        "Correct the name, or create the Service.";
    PORT_UNSET "GWT204" Error "A backend that is a Service names a port",
        "A backendRef to a Service without port cannot be resolved.",
        "Add the port.";
    PORT_UNKNOWN "GWT205" Error "The Service has the port that a backend names",
        "backendRefs name the port of the Service, not the targetPort of the pods.",
        "Use a port that the Service has.";
    NOT_GRANTED "GWT206" Error "A backend of another namespace is granted",
        "A route may send to another namespace only with a ReferenceGrant there. Without it requests are answered with 500.",
        "Add the ReferenceGrant in the namespace of the backend.";
    NO_ENDPOINTS "GWT207" Error "The Service of a backend has endpoints",
        "The Service selects no pod: requests are answered with 503.",
        "Compare the Service's selector with the labels of the pods; look whether there are replicas.";
    NONE_READY "GWT208" Error "The Service of a backend has a ready endpoint",
        "There are endpoints, but none is ready: requests are answered with 503.",
        "Look at the readiness probes of the pods.";
    SOME_NOT_READY "GWT209" Info "All endpoints of a backend are ready",
        "Some endpoints do not take requests: the others carry their load.",
        "Look at the readiness probes of the pods.";
    ALL_WEIGHTS_ZERO "GWT210" Error "A rule has a backend of a weight above zero",
        "All weights are zero: every request of the rule is answered with 500.",
        "Give a backend a weight.";
    EXTERNAL_NAME "GWT211" Warning "A backend is not a Service of type ExternalName",
        "Many implementations refuse such backends, since they bypass ReferenceGrants (CVE-2021-25740).",
        "Use a Service with EndpointSlices of its own, or the implementation's own kind of backend.";
    POOL_MISSING "GWT212" Error "The InferencePool of a backend exists",
        "The route sends to a pool of models that is not there.",
        "Correct the name, or create the InferencePool.";
    POOL_PICKER "GWT213" Error "The endpoint picker of an InferencePool exists",
        "Without its endpoint picker no pod of the pool can be chosen.",
        "Create the Service of the endpoint picker, or correct endpointPickerRef.";
    PORT_PROTOCOL "GWT214" Error "The protocol of the Service's port fits the route",
        "UDPRoutes need a UDP port, all other routes a TCP port.",
        "Use another port of the Service, or correct its protocol.";
    ENDPOINT_PORT "GWT215" Error "The endpoints have the port of the Service",
        "The Service's port exists, but none of its endpoints has it: a targetPort by a name that the pods do not have.",
        "Correct targetPort, or name the container's port.";
    BACKEND_TWICE "GWT216" Info "A rule names each backend once",
        "The same backend is there twice, so that its weight is the sum of both. A canary cannot tell them apart.",
        "Merge them into one.";
    MIRROR_BROKEN "GWT217" Warning "The backend of a mirror exists and is granted",
        "Copies of requests go nowhere. The answers to clients are not affected.",
        "Correct the filter's backendRef, or add the ReferenceGrant.";
    BACKEND_TLS_ASKED "GWT218" Warning "A backend that speaks HTTPS has a BackendTLSPolicy",
        "The port says appProtocol https, but nothing tells the proxy to speak TLS to it and whom to trust.",
        "Add a BackendTLSPolicy for the Service.";

    // What the controller says, against what was found here.
    ROUTE_SILENT "GWT301" Error "The controller has answered for every parent of a route",
        "The controller of the Gateway has written no status for this parentRef: it is down, or does not watch this namespace or kind.",
        "Look at the controller's log, and at what it is configured to watch.";
    ROUTE_STALE "GWT302" Warning "The status of a route is about its present spec",
        "The controller has not come to the last change: what it says is about an older generation.",
        "Wait some seconds; if it stays, look at the controller's log.";
    REFUSED_BUT_FITS "GWT303" Warning "A controller does not refuse what fits",
        "The controller refuses the route, and nothing was found that forbids it: a limit of the implementation, a policy, or an error of it.",
        "Read the condition's message; ask the implementation's documentation for the reason.";
    ACCEPTED_BUT_BROKEN "GWT304" Warning "A controller does not accept what cannot attach",
        "The controller says Accepted, but by the rules of the API the route cannot attach. The status may be old, or the implementation wrong.",
        "Trust the evidence, and test with a request.";
    REFS_REFUSED "GWT305" Warning "A controller does not miss references that are there",
        "The controller says that references are not resolved, and all of them were found here: it may be late, or not permitted to read them.",
        "Look at the condition's message and at the controller's permissions.";
    REFS_BUT_BROKEN "GWT306" Warning "A controller does not resolve references that are broken",
        "The controller says ResolvedRefs, but a reference of the route leads nowhere.",
        "Trust the evidence, and test with a request.";
    STATUS_LEFT_OVER "GWT307" Info "Statuses are about parents that a route names",
        "A status is left over of a parent that the route does not name any more. It is harmless, but misleads.",
        "The controller that wrote it should remove it; it can be removed by hand.";
    OTHER_CONTROLLER "GWT308" Warning "The status of a route is written by the controller of its Gateway",
        "The class names another controller than the one that wrote the status: two of them may be fighting.",
        "Stop the controller that is not meant.";
    PARTLY_INVALID "GWT309" Warning "All rules of a route are valid",
        "The controller has dropped some rules of the route, or kept older ones, and serves the rest.",
        "Read the condition's message.";
    COUNT_DIFFERS "GWT310" Info "The controller counts the routes that fit",
        "attachedRoutes of the listener differs from what was found here: the status may be late, or the controller sees other routes.",
        "Compare the routes of the listener, with `gwtop tree`.";
    ROUTE_REFUSED "GWT311" Error "A route is accepted by every parent",
        "The controller refuses the route at this parent, so that it is not served there.",
        "Mend what the findings about the same route name.";
    REFS_UNRESOLVED "GWT312" Error "References of a route are resolved",
        "The controller cannot resolve a reference of the route: requests for it are answered with 500.",
        "Mend what the findings about the same route name.";

    // Grants, policies and what is left over.
    GRANT_UNUSED "GWT401" Info "A ReferenceGrant is used",
        "Nothing uses it: permission that nobody needs.",
        "Remove it.";
    GRANT_DANGLING "GWT402" Info "The object that a ReferenceGrant names exists",
        "The grant is for an object that is not there.",
        "Correct or remove it.";
    POLICY_TARGET "GWT403" Warning "The target of a policy exists",
        "The policy has no effect on this target.",
        "Correct targetRef: targets are in the policy's own namespace.";
    POLICY_SECTION "GWT404" Warning "The section of a policy's target exists",
        "The policy names a listener, rule or port that its target does not have.",
        "Correct sectionName.";
    POLICY_REFUSED "GWT405" Warning "A policy is accepted",
        "The controller refuses the policy: what it asks for is not in force.",
        "Read the condition's message.";
    POLICY_SILENT "GWT406" Warning "A controller has answered for a policy",
        "No controller has said anything about the policy: perhaps none that runs knows this kind.",
        "Look whether the implementation of the targets supports the policy.";
    POLICY_TWICE "GWT407" Warning "A target has one policy of a kind",
        "Two policies of one kind target the same section: the older wins, then the first by name.",
        "Merge them.";
    POLICY_STALE "GWT408" Warning "The status of a policy is about its present spec",
        "The controller has not come to the last change.",
        "Wait some seconds; if it stays, look at the controller's log.";
    BACKEND_TLS_TRUST "GWT409" Error "A BackendTLSPolicy says whom to trust",
        "It needs caCertificateRefs or wellKnownCACertificates, and a hostname.",
        "Add one of them.";
    INGRESS_SAME_HOST "GWT501" Warning "A host is served by Ingress or by routes, not by both",
        "An Ingress is left over for a host that a route serves: which of them answers depends on DNS.",
        "Remove the Ingress once DNS points to the Gateway: `gwtop migrate --plan`.";
    NOT_SEEN "GWT901" Unknown "Everything that has to be known can be seen",
        "Objects of this kind could not be read, so that what depends on them was not judged.",
        "Grant get, list and watch for it.";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_unique_and_in_order() {
        let ids: Vec<_> = RULES.iter().map(|rule| rule.id).collect();
        assert!(ids.windows(2).all(|pair| pair[0] < pair[1]), "{ids:?}");
        assert!(ids.len() >= 40);
    }
}
