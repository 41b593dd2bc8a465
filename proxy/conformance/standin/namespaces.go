package main

import (
	"context"
	"log"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
)

// finalizeNamespaces empties Namespaces that were deleted and lets them go.
func finalizeNamespaces(ctx context.Context, config *rest.Config, client *kubernetes.Clientset) error {
	objects, err := dynamic.NewForConfig(config)
	if err != nil {
		return err
	}
	go func() {
		for ctx.Err() == nil {
			namespaces, err := client.CoreV1().Namespaces().List(ctx, metav1.ListOptions{})
			if err == nil {
				for _, namespace := range namespaces.Items {
					if namespace.DeletionTimestamp != nil {
						finalize(ctx, objects, client, &namespace)
					}
				}
			}
			time.Sleep(retry)
		}
	}()
	return nil
}

func finalize(ctx context.Context, objects dynamic.Interface, client *kubernetes.Clientset, namespace *corev1.Namespace) {
	// What is served in part is answered in part; the rest has its turn next time.
	lists, _ := client.Discovery().ServerPreferredNamespacedResources()
	now := int64(0)
	for _, list := range lists {
		version, err := schema.ParseGroupVersion(list.GroupVersion)
		if err != nil {
			continue
		}
		for _, resource := range list.APIResources {
			if slices.Contains(resource.Verbs, "deletecollection") && !strings.Contains(resource.Name, "/") {
				collection := objects.Resource(version.WithResource(resource.Name)).Namespace(namespace.Name)
				_ = collection.DeleteCollection(ctx, metav1.DeleteOptions{GracePeriodSeconds: &now}, metav1.ListOptions{})
			}
		}
	}
	namespace.Spec.Finalizers = nil
	if _, err := client.CoreV1().Namespaces().Finalize(ctx, namespace, metav1.UpdateOptions{}); err != nil {
		log.Printf("finalize Namespace %s: %v", namespace.Name, err)
	}
}
