package main

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/rand"
)

// podsOf are the Pods that a Deployment asks for. Names are the same every time, so that nothing
// is made twice, and end in two dash-separated parts, which the suite cuts off.
func podsOf(deployment *appsv1.Deployment, node string) map[types.NamespacedName]*corev1.Pod {
	replicas := 1
	if deployment.Spec.Replicas != nil {
		replicas = int(*deployment.Spec.Replicas)
	}
	template := deployment.Spec.Template
	revision := digest(template.String())
	pods := map[types.NamespacedName]*corev1.Pod{}
	for i := range replicas {
		pod := &corev1.Pod{
			ObjectMeta: metav1.ObjectMeta{
				Namespace:   deployment.Namespace,
				Name:        fmt.Sprintf("%s-%s-%s", deployment.Name, revision[:10], digest(fmt.Sprintf("%d/%s", i, deployment.UID))[:5]),
				Labels:      maps.Clone(template.Labels),
				Annotations: maps.Clone(template.Annotations),
				OwnerReferences: []metav1.OwnerReference{
					*metav1.NewControllerRef(deployment, appsv1.SchemeGroupVersion.WithKind("Deployment")),
				},
			},
			Spec: *template.Spec.DeepCopy(),
		}
		pod.Spec.NodeName = node
		pods[types.NamespacedName{Namespace: pod.Namespace, Name: pod.Name}] = pod
	}
	return pods
}

func digest(text string) string {
	sum := sha256.Sum256([]byte(text))
	return rand.SafeEncodeString(hex.EncodeToString(sum[:]))
}

func isReady(object *corev1.Pod) bool {
	return object.DeletionTimestamp == nil && slices.ContainsFunc(object.Status.Conditions, func(c corev1.PodCondition) bool {
		return c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue
	})
}

// status is what a kubelet would report.
func (p *pod) status(object *corev1.Pod) corev1.PodStatus {
	ready := p.ready()
	now := metav1.Now()
	status := corev1.PodStatus{
		Phase:             corev1.PodRunning,
		HostIP:            p.address.String(),
		PodIP:             p.address.String(),
		PodIPs:            []corev1.PodIP{{IP: p.address.String()}},
		StartTime:         &metav1.Time{Time: p.started},
		QOSClass:          object.Status.QOSClass,
		ContainerStatuses: []corev1.ContainerStatus{},
	}
	if !ready {
		status.Phase = corev1.PodPending
	}
	set := func(kind corev1.PodConditionType, is bool) {
		condition := corev1.PodCondition{Type: kind, Status: corev1.ConditionFalse, LastTransitionTime: now}
		if is {
			condition.Status = corev1.ConditionTrue
		}
		for _, old := range object.Status.Conditions {
			if old.Type == kind && old.Status == condition.Status {
				condition.LastTransitionTime = old.LastTransitionTime
			}
		}
		status.Conditions = append(status.Conditions, condition)
	}
	set(corev1.PodInitialized, true)
	set(corev1.PodReady, ready)
	set(corev1.ContainersReady, ready)
	set(corev1.PodScheduled, true)
	for _, container := range object.Spec.Containers {
		one := corev1.ContainerStatus{Name: container.Name, Image: container.Image, Ready: ready, Started: &ready}
		if ready {
			one.State.Running = &corev1.ContainerStateRunning{StartedAt: metav1.Time{Time: p.started}}
		} else {
			one.State.Waiting = &corev1.ContainerStateWaiting{Reason: "ContainerCreating", Message: p.problem()}
		}
		status.ContainerStatuses = append(status.ContainerStatuses, one)
	}
	return status
}

func sameStatus(old, new corev1.PodStatus) bool {
	ready := func(status corev1.PodStatus) bool {
		return isReady(&corev1.Pod{Status: status})
	}
	return old.Phase == new.Phase && old.PodIP == new.PodIP && ready(old) == ready(new)
}
