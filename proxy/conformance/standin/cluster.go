package main

import (
	"context"
	"log"
	"maps"
	"sync"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
)

// quiet is how long to wait for more changes before looking at all of them.
const quiet = 20 * time.Millisecond

// retry is when to look again at what could not be done.
const retry = time.Second

// A cluster makes Pods and EndpointSlices what Deployments and Services say. All of its state but
// the running processes is in the API: it looks at everything after every change.
type cluster struct {
	client    kubernetes.Interface
	node      string
	addresses *addresses
	processes *processes
	dir       string

	informers informers.SharedInformerFactory
	changed   chan struct{}

	mutex   sync.Mutex
	running map[types.NamespacedName]*pod
}

func newCluster(client kubernetes.Interface, node string, addresses *addresses, processes *processes, dir string) *cluster {
	return &cluster{
		client: client, node: node, addresses: addresses, processes: processes, dir: dir,
		informers: informers.NewSharedInformerFactory(client, 0),
		changed:   make(chan struct{}, 1),
		running:   map[types.NamespacedName]*pod{},
	}
}

func (c *cluster) run(ctx context.Context) error {
	wake := cache.ResourceEventHandlerFuncs{
		AddFunc:    func(any) { c.wake() },
		UpdateFunc: func(any, any) { c.wake() },
		DeleteFunc: func(any) { c.wake() },
	}
	for _, informer := range []cache.SharedIndexInformer{
		c.informers.Apps().V1().Deployments().Informer(),
		c.informers.Core().V1().Pods().Informer(),
		c.informers.Core().V1().Services().Informer(),
		c.informers.Core().V1().Secrets().Informer(),
		c.informers.Core().V1().ConfigMaps().Informer(),
		c.informers.Discovery().V1().EndpointSlices().Informer(),
	} {
		if _, err := informer.AddEventHandler(wake); err != nil {
			return err
		}
	}
	c.informers.Start(ctx.Done())
	c.informers.WaitForCacheSync(ctx.Done())
	if ctx.Err() == nil {
		log.Print("ready")
	}

	again := time.NewTimer(0)
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-c.changed:
			time.Sleep(quiet)
			select {
			case <-c.changed:
			default:
			}
		case <-again.C:
		}
		if !c.sync(ctx) {
			again.Reset(retry)
		}
	}
}

func (c *cluster) wake() {
	select {
	case c.changed <- struct{}{}:
	default:
	}
}

func (c *cluster) stop() {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	for _, pod := range c.running {
		pod.stop()
	}
}

// sync reports whether everything could be done.
func (c *cluster) sync(ctx context.Context) bool {
	deployments, _ := c.informers.Apps().V1().Deployments().Lister().List(labels.Everything())
	present, _ := c.informers.Core().V1().Pods().Lister().List(labels.Everything())
	done := true

	wanted := map[types.NamespacedName]*corev1.Pod{}
	for _, deployment := range deployments {
		if deployment.DeletionTimestamp == nil {
			maps.Copy(wanted, podsOf(deployment, c.node))
		}
	}
	known := map[types.NamespacedName]*corev1.Pod{}
	for _, object := range present {
		if object.Spec.NodeName == c.node {
			known[types.NamespacedName{Namespace: object.Namespace, Name: object.Name}] = object
		}
	}
	for key, object := range known {
		if _, ok := wanted[key]; !ok || object.DeletionTimestamp != nil {
			c.end(key)
			now := int64(0)
			err := c.client.CoreV1().Pods(key.Namespace).Delete(ctx, key.Name, metav1.DeleteOptions{
				GracePeriodSeconds: &now, Preconditions: &metav1.Preconditions{UID: &object.UID},
			})
			done = c.ok("delete Pod "+key.String(), err) && done
		}
	}
	for key, template := range wanted {
		object, ok := known[key]
		switch {
		case !ok:
			c.end(key)
			_, err := c.client.CoreV1().Pods(key.Namespace).Create(ctx, template, metav1.CreateOptions{})
			done = c.ok("create Pod "+key.String(), err) && done
		case object.DeletionTimestamp == nil:
			done = c.begin(ctx, key, object) && done
		}
	}
	// Pods whose objects are gone, as when their namespace was deleted.
	c.mutex.Lock()
	var lost []types.NamespacedName
	for key := range c.running {
		if _, ok := known[key]; !ok {
			lost = append(lost, key)
		}
	}
	c.mutex.Unlock()
	for _, key := range lost {
		c.end(key)
	}
	for _, deployment := range deployments {
		done = c.deploymentStatus(ctx, deployment, known) && done
	}
	return c.endpoints(ctx, known) && done
}

// begin starts the Pod if it does not run yet, and says in its status how it is.
func (c *cluster) begin(ctx context.Context, key types.NamespacedName, object *corev1.Pod) bool {
	c.mutex.Lock()
	running := c.running[key]
	if running != nil && running.uid != object.UID {
		running.stop()
		running = nil
		delete(c.running, key)
	}
	if running == nil {
		var err error
		if running, err = c.start(object); err != nil {
			c.mutex.Unlock()
			log.Printf("Pod %s: %v", key, err)
			return false
		}
		c.running[key] = running
	}
	c.mutex.Unlock()

	status := running.status(object)
	if sameStatus(object.Status, status) {
		return true
	}
	update := object.DeepCopy()
	update.Status = status
	_, err := c.client.CoreV1().Pods(key.Namespace).UpdateStatus(ctx, update, metav1.UpdateOptions{})
	return c.ok("status of Pod "+key.String(), err)
}

func (c *cluster) end(key types.NamespacedName) {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	if pod := c.running[key]; pod != nil {
		pod.stop()
		delete(c.running, key)
	}
}

func (c *cluster) find(namespace, name string) *pod {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	return c.running[types.NamespacedName{Namespace: namespace, Name: name}]
}

func (c *cluster) deploymentStatus(ctx context.Context, deployment *appsv1.Deployment, known map[types.NamespacedName]*corev1.Pod) bool {
	status := appsv1.DeploymentStatus{ObservedGeneration: deployment.Generation}
	for _, object := range known {
		if owner := metav1.GetControllerOf(object); owner != nil && owner.UID == deployment.UID {
			status.Replicas++
			status.UpdatedReplicas++
			if isReady(object) {
				status.ReadyReplicas++
				status.AvailableReplicas++
			}
		}
	}
	old := deployment.Status
	if old.ObservedGeneration == status.ObservedGeneration && old.Replicas == status.Replicas && old.ReadyReplicas == status.ReadyReplicas {
		return true
	}
	update := deployment.DeepCopy()
	update.Status = status
	_, err := c.client.AppsV1().Deployments(deployment.Namespace).UpdateStatus(ctx, update, metav1.UpdateOptions{})
	return c.ok("status of Deployment "+deployment.Namespace+"/"+deployment.Name, err)
}

// ok passes over what another look settles: the informers were behind the server.
func (c *cluster) ok(what string, err error) bool {
	switch {
	case err == nil:
		return true
	case errors.IsNotFound(err), errors.IsAlreadyExists(err), errors.IsConflict(err), errors.IsForbidden(err):
		return false
	default:
		log.Printf("%s: %v", what, err)
		return false
	}
}
