package main

import (
	"context"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
)

const managedBy = "standin.gwtop.dev"

// endpoints keeps one EndpointSlice for each Service that selects Pods.
func (c *cluster) endpoints(ctx context.Context, pods map[types.NamespacedName]*corev1.Pod) bool {
	services, _ := c.informers.Core().V1().Services().Lister().List(labels.Everything())
	ours := labels.SelectorFromSet(labels.Set{discoveryv1.LabelManagedBy: managedBy})
	slicesPresent, _ := c.informers.Discovery().V1().EndpointSlices().Lister().List(ours)
	present := map[types.NamespacedName]*discoveryv1.EndpointSlice{}
	for _, slice := range slicesPresent {
		present[types.NamespacedName{Namespace: slice.Namespace, Name: slice.Name}] = slice
	}

	done := true
	for _, service := range services {
		if service.DeletionTimestamp != nil || len(service.Spec.Selector) == 0 || service.Spec.Type == corev1.ServiceTypeExternalName {
			continue
		}
		wanted := sliceOf(service, pods)
		if wanted == nil {
			continue
		}
		key := types.NamespacedName{Namespace: wanted.Namespace, Name: wanted.Name}
		old := present[key]
		delete(present, key)
		api := c.client.DiscoveryV1().EndpointSlices(wanted.Namespace)
		switch {
		case old == nil:
			_, err := api.Create(ctx, wanted, metav1.CreateOptions{})
			done = c.ok("create EndpointSlice "+key.String(), err) && done
		case !equality.Semantic.DeepEqual(old.Endpoints, wanted.Endpoints) || !equality.Semantic.DeepEqual(old.Ports, wanted.Ports):
			update := old.DeepCopy()
			update.Endpoints, update.Ports = wanted.Endpoints, wanted.Ports
			_, err := api.Update(ctx, update, metav1.UpdateOptions{})
			done = c.ok("update EndpointSlice "+key.String(), err) && done
		}
	}
	for key := range present {
		err := c.client.DiscoveryV1().EndpointSlices(key.Namespace).Delete(ctx, key.Name, metav1.DeleteOptions{})
		done = c.ok("delete EndpointSlice "+key.String(), err) && done
	}
	return done
}

// sliceOf is nil where no Pod is selected.
func sliceOf(service *corev1.Service, pods map[types.NamespacedName]*corev1.Pod) *discoveryv1.EndpointSlice {
	selector := labels.SelectorFromSet(service.Spec.Selector)
	var selected []*corev1.Pod
	for _, pod := range pods {
		if pod.Namespace == service.Namespace && pod.Status.PodIP != "" && pod.DeletionTimestamp == nil && selector.Matches(labels.Set(pod.Labels)) {
			selected = append(selected, pod)
		}
	}
	if len(selected) == 0 {
		return nil
	}
	slices.SortFunc(selected, func(a, b *corev1.Pod) int { return strings.Compare(a.Name, b.Name) })

	family := discoveryv1.AddressTypeIPv4
	if strings.Contains(selected[0].Status.PodIP, ":") {
		family = discoveryv1.AddressTypeIPv6
	}
	slice := &discoveryv1.EndpointSlice{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: service.Namespace,
			Name:      service.Name + "-standin",
			Labels: map[string]string{
				discoveryv1.LabelServiceName: service.Name,
				discoveryv1.LabelManagedBy:   managedBy,
			},
			OwnerReferences: []metav1.OwnerReference{
				*metav1.NewControllerRef(service, corev1.SchemeGroupVersion.WithKind("Service")),
			},
		},
		AddressType: family,
	}
	for _, one := range service.Spec.Ports {
		target := one.TargetPort.IntVal
		if name := one.TargetPort.StrVal; name != "" {
			target = named(selected[0], name)
		}
		if target == 0 {
			target = one.Port
		}
		name, protocol := one.Name, one.Protocol
		if protocol == "" {
			protocol = corev1.ProtocolTCP
		}
		slice.Ports = append(slice.Ports, discoveryv1.EndpointPort{Name: &name, Port: &target, Protocol: &protocol, AppProtocol: one.AppProtocol})
	}
	for _, pod := range selected {
		ready, node := isReady(pod), pod.Spec.NodeName
		slice.Endpoints = append(slice.Endpoints, discoveryv1.Endpoint{
			Addresses:  []string{pod.Status.PodIP},
			Conditions: discoveryv1.EndpointConditions{Ready: &ready, Serving: &ready, Terminating: new(bool)},
			NodeName:   &node,
			TargetRef:  &corev1.ObjectReference{Kind: "Pod", Namespace: pod.Namespace, Name: pod.Name, UID: pod.UID},
		})
	}
	return slice
}

func named(pod *corev1.Pod, name string) int32 {
	for _, container := range pod.Spec.Containers {
		for _, port := range container.Ports {
			if port.Name == name {
				return port.ContainerPort
			}
		}
	}
	return 0
}
