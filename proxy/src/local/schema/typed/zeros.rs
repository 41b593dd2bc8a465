//! Fields that are not written when they are empty.

/// One definition a line: its name after `io.k8s.api.`, then its scalar fields which Go leaves out
/// where they are `""`, `0` or `false`. The others tell an empty value from none.
pub(super) const ZEROS: &str = "
apps.v1.DaemonSetCondition reason message
apps.v1.DaemonSetSpec minReadySeconds
apps.v1.DaemonSetStatus observedGeneration updatedNumberScheduled numberAvailable numberUnavailable
apps.v1.DaemonSetUpdateStrategy type
apps.v1.DeploymentCondition reason message
apps.v1.DeploymentSpec minReadySeconds paused
apps.v1.DeploymentStatus observedGeneration replicas updatedReplicas readyReplicas availableReplicas unavailableReplicas
apps.v1.DeploymentStrategy type
apps.v1.ReplicaSetCondition reason message
apps.v1.ReplicaSetSpec minReadySeconds
apps.v1.ReplicaSetStatus fullyLabeledReplicas readyReplicas availableReplicas observedGeneration
apps.v1.StatefulSetCondition reason message
apps.v1.StatefulSetPersistentVolumeClaimRetentionPolicy whenDeleted whenScaled
apps.v1.StatefulSetSpec podManagementPolicy minReadySeconds
apps.v1.StatefulSetStatus observedGeneration readyReplicas currentReplicas updatedReplicas currentRevision updateRevision
apps.v1.StatefulSetUpdateStrategy type
authentication.v1.BoundObjectReference kind apiVersion name uid
authentication.v1.TokenReviewSpec token
authentication.v1.TokenReviewStatus authenticated error
authentication.v1.UserInfo username uid
authorization.v1.FieldSelectorAttributes rawSelector
authorization.v1.LabelSelectorAttributes rawSelector
authorization.v1.NonResourceAttributes path verb
authorization.v1.ResourceAttributes namespace verb group version resource subresource name
authorization.v1.SelfSubjectRulesReviewSpec namespace
authorization.v1.SubjectAccessReviewSpec user uid
authorization.v1.SubjectAccessReviewStatus denied reason evaluationError
authorization.v1.SubjectRulesReviewStatus evaluationError
autoscaling.v1.CrossVersionObjectReference apiVersion
autoscaling.v1.HorizontalPodAutoscalerCondition reason message
autoscaling.v1.ScaleSpec replicas
autoscaling.v1.ScaleStatus selector
autoscaling.v2.CrossVersionObjectReference apiVersion
autoscaling.v2.HorizontalPodAutoscalerCondition reason message
autoscaling.v2.HorizontalPodAutoscalerStatus currentReplicas
batch.v1.CronJobSpec concurrencyPolicy
batch.v1.JobCondition reason message
batch.v1.JobStatus active succeeded failed completedIndexes
core.v1.AWSElasticBlockStoreVolumeSource fsType partition readOnly
core.v1.AzureFileVolumeSource readOnly
core.v1.CephFSVolumeSource path user secretFile readOnly
core.v1.CinderVolumeSource fsType readOnly
core.v1.ComponentCondition message error
core.v1.ConfigMapNodeConfigSource uid resourceVersion
core.v1.Container image workingDir terminationMessagePath terminationMessagePolicy imagePullPolicy stdin stdinOnce tty
core.v1.ContainerImage sizeBytes
core.v1.ContainerPort name hostPort protocol hostIP
core.v1.ContainerRestartRule action
core.v1.ContainerRestartRuleOnExitCodes operator
core.v1.ContainerStateTerminated signal reason message containerID
core.v1.ContainerStateWaiting reason message
core.v1.ContainerStatus containerID
core.v1.EmptyDirVolumeSource medium
core.v1.EndpointAddress hostname
core.v1.EndpointPort name protocol
core.v1.EnvFromSource prefix
core.v1.EnvVar value
core.v1.EphemeralContainer image workingDir terminationMessagePath terminationMessagePolicy imagePullPolicy stdin stdinOnce tty targetContainerName
core.v1.Event reason message count type action
core.v1.EventSeries count
core.v1.EventSource component host
core.v1.FCVolumeSource fsType readOnly
core.v1.FlexVolumeSource fsType readOnly
core.v1.FlockerVolumeSource datasetName datasetUUID
core.v1.GCEPersistentDiskVolumeSource fsType partition readOnly
core.v1.GitRepoVolumeSource revision directory
core.v1.GlusterfsVolumeSource readOnly
core.v1.HTTPGetAction path host scheme
core.v1.ISCSIVolumeSource iscsiInterface fsType readOnly chapAuthDiscovery chapAuthSession
core.v1.ImageVolumeSource reference pullPolicy
core.v1.ImageVolumeStatus imageRef
core.v1.LoadBalancerIngress ip hostname
core.v1.LocalObjectReference name
core.v1.ModifyVolumeStatus targetVolumeAttributesClassName
core.v1.NFSVolumeSource readOnly
core.v1.NamespaceCondition reason message
core.v1.NamespaceStatus phase
core.v1.NodeCondition reason message
core.v1.NodeConfigStatus error
core.v1.NodeSpec podCIDR providerID unschedulable externalID
core.v1.NodeStatus phase
core.v1.ObjectFieldSelector apiVersion
core.v1.ObjectReference kind namespace name uid apiVersion resourceVersion fieldPath
core.v1.PersistentVolumeClaimCondition reason message
core.v1.PersistentVolumeClaimSpec volumeName
core.v1.PersistentVolumeClaimStatus phase
core.v1.PersistentVolumeClaimVolumeSource readOnly
core.v1.PhotonPersistentDiskVolumeSource fsType
core.v1.PodCertificateProjection signerName keyType credentialBundlePath keyPath certificateChainPath
core.v1.PodCondition observedGeneration reason message
core.v1.PodDNSConfigOption name
core.v1.PodSpec restartPolicy dnsPolicy serviceAccountName serviceAccount nodeName hostNetwork hostPID hostIPC hostname subdomain schedulerName priorityClassName
core.v1.PodStatus observedGeneration phase message reason nominatedNodeName hostIP podIP qosClass resize
core.v1.PortworxVolumeSource fsType readOnly
core.v1.Probe initialDelaySeconds timeoutSeconds periodSeconds successThreshold failureThreshold
core.v1.QuobyteVolumeSource readOnly user group tenant
core.v1.RBDVolumeSource fsType pool user keyring readOnly
core.v1.ResourceClaim request
core.v1.ResourceFieldSelector containerName
core.v1.ResourceHealth health
core.v1.ScaleIOVolumeSource sslEnabled protectionDomain storagePool storageMode volumeName fsType readOnly
core.v1.Secret type
core.v1.SecretReference name namespace
core.v1.SecretVolumeSource secretName
core.v1.ServiceAccountTokenProjection audience
core.v1.ServicePort name protocol nodePort
core.v1.ServiceSpec clusterIP type sessionAffinity loadBalancerIP externalName externalTrafficPolicy healthCheckNodePort publishNotReadyAddresses
core.v1.StorageOSVolumeSource volumeName volumeNamespace fsType readOnly
core.v1.TCPSocketAction host
core.v1.Taint value
core.v1.Toleration key operator value effect
core.v1.VolumeMount readOnly subPath subPathExpr
core.v1.VolumeMountStatus readOnly
core.v1.VsphereVirtualDiskVolumeSource fsType storagePolicyName storagePolicyID
events.v1.Event reportingController reportingInstance action reason note type deprecatedCount
networking.v1.HTTPIngressPath path
networking.v1.IngressClassSpec controller
networking.v1.IngressLoadBalancerIngress ip hostname
networking.v1.IngressRule host
networking.v1.IngressTLS secretName
networking.v1.ParentReference group resource namespace name
networking.v1.ServiceBackendPort name number
policy.v1.PodDisruptionBudgetStatus observedGeneration
rbac.v1.Subject apiGroup namespace
";
