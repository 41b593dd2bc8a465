package main

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
)

// A pod is one that runs.
type pod struct {
	uid     types.UID
	address netip.Addr
	started time.Time
	logs    map[string]*logs
	cancel  context.CancelFunc
	done    sync.WaitGroup
	free    func()

	mutex sync.Mutex
	up    map[string]bool
	why   string
}

// start returns at once; c.wake is called when the Pod's status has something new to say.
func (c *cluster) start(object *corev1.Pod) (*pod, error) {
	address, err := c.addresses.take()
	if err != nil {
		return nil, err
	}
	dir := filepath.Join(c.dir, object.Namespace, object.Name, string(object.UID))
	ctx, cancel := context.WithCancel(context.Background())
	p := &pod{
		uid: object.UID, address: address, started: time.Now(),
		logs: map[string]*logs{}, up: map[string]bool{}, cancel: cancel,
		free: func() {
			os.RemoveAll(dir)
			c.addresses.free(address)
		},
	}
	for _, container := range object.Spec.Containers {
		p.up[container.Name] = false
		p.logs[container.Name] = &logs{}
		p.done.Add(1)
		go func() {
			defer p.done.Done()
			for ctx.Err() == nil {
				err := c.runContainer(ctx, p, object, &container, dir)
				if ctx.Err() != nil {
					return
				}
				p.set(container.Name, false, err.Error())
				p.logs[container.Name].write(err.Error())
				c.wake()
				select {
				case <-ctx.Done():
				case <-time.After(retry):
				}
			}
		}()
	}
	return p, nil
}

func (c *cluster) runContainer(ctx context.Context, p *pod, object *corev1.Pod, container *corev1.Container, dir string) error {
	ready := func() {
		p.set(container.Name, true, "")
		c.wake()
	}
	if strings.Contains(container.Image, "coredns") {
		return answerDNS(ctx, netip.AddrPortFrom(p.address, 53), p.logs[container.Name], ready)
	}
	mounts, err := c.mount(ctx, object, container, dir)
	if err != nil {
		return err
	}
	env, err := environment(object, container, p.address, mounts)
	if err != nil {
		return err
	}
	return c.processes.echo(ctx, p.address, env, p.logs[container.Name], ready)
}

func (p *pod) stop() {
	p.cancel()
	go func() {
		p.done.Wait()
		p.free()
	}()
}

func (p *pod) set(container string, up bool, why string) {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	p.up[container], p.why = up, why
}

func (p *pod) ready() bool {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	for _, up := range p.up {
		if !up {
			return false
		}
	}
	return true
}

func (p *pod) problem() string {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	return p.why
}

// environment is the container's, with paths below its mounts led to where these are here.
func environment(object *corev1.Pod, container *corev1.Container, address netip.Addr, mounts map[string]string) (map[string]string, error) {
	env := map[string]string{}
	for _, variable := range container.Env {
		value := variable.Value
		if from := variable.ValueFrom; from != nil {
			if from.FieldRef == nil {
				return nil, fmt.Errorf("env %s: only fieldRef is known", variable.Name)
			}
			switch path := from.FieldRef.FieldPath; path {
			case "metadata.name":
				value = object.Name
			case "metadata.namespace":
				value = object.Namespace
			case "metadata.uid":
				value = string(object.UID)
			case "spec.nodeName":
				value = object.Spec.NodeName
			case "spec.serviceAccountName":
				value = object.Spec.ServiceAccountName
			case "status.podIP", "status.podIPs", "status.hostIP":
				value = address.String()
			default:
				return nil, fmt.Errorf("env %s: fieldPath %s is not known", variable.Name, path)
			}
		}
		for mount, dir := range mounts {
			if rest, below := strings.CutPrefix(value, mount+"/"); below {
				value = filepath.Join(dir, rest)
			}
		}
		env[variable.Name] = value
	}
	return env, nil
}

// mount writes the container's volumes and returns where each mount path is.
func (c *cluster) mount(_ context.Context, object *corev1.Pod, container *corev1.Container, dir string) (map[string]string, error) {
	mounts := map[string]string{}
	for _, mount := range container.VolumeMounts {
		files, err := c.volume(object, mount.Name)
		if err != nil {
			return nil, fmt.Errorf("volume %s: %w", mount.Name, err)
		}
		at := filepath.Join(dir, mount.Name)
		for path, content := range files {
			file := filepath.Join(at, path)
			if !filepath.IsLocal(path) {
				return nil, fmt.Errorf("volume %s: path %s leads out of it", mount.Name, path)
			}
			if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
				return nil, err
			}
			if err := os.WriteFile(file, content, 0o600); err != nil {
				return nil, err
			}
		}
		mounts[strings.TrimSuffix(mount.MountPath, "/")] = at
	}
	return mounts, nil
}

func (c *cluster) volume(object *corev1.Pod, name string) (map[string][]byte, error) {
	for _, volume := range object.Spec.Volumes {
		if volume.Name != name {
			continue
		}
		switch {
		case volume.Secret != nil:
			secret, err := c.informers.Core().V1().Secrets().Lister().Secrets(object.Namespace).Get(volume.Secret.SecretName)
			if err != nil {
				return nil, err
			}
			return projected(secret.Data, volume.Secret.Items)
		case volume.ConfigMap != nil:
			config, err := c.informers.Core().V1().ConfigMaps().Lister().ConfigMaps(object.Namespace).Get(volume.ConfigMap.Name)
			if err != nil {
				return nil, err
			}
			data := map[string][]byte{}
			for key, text := range config.Data {
				data[key] = []byte(text)
			}
			for key, bytes := range config.BinaryData {
				data[key] = bytes
			}
			return projected(data, volume.ConfigMap.Items)
		case volume.EmptyDir != nil:
			return nil, nil
		default:
			return nil, fmt.Errorf("only secret, configMap and emptyDir are known")
		}
	}
	return nil, fmt.Errorf("the Pod has none of this name")
}

func projected(data map[string][]byte, items []corev1.KeyToPath) (map[string][]byte, error) {
	if items == nil {
		return data, nil
	}
	files := map[string][]byte{}
	for _, item := range items {
		content, ok := data[item.Key]
		if !ok {
			return nil, fmt.Errorf("there is no key %s", item.Key)
		}
		files[item.Path] = content
	}
	return files, nil
}
