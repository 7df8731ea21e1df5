// network-policies enforces the NetworkPolicies of a cluster on its one node.
//
// It judges the first packet of each connection, which an iptables rule of the harness puts into its queue. That rule is
// the harness' because the library's own is one of nftables, whose queues a kernel may lack while it has those of iptables:
// the library then says so in the log, and goes on.
package main

import (
	"context"
	"flag"
	"os/signal"
	"syscall"

	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/klog/v2"
	"sigs.k8s.io/kube-network-policies/pkg/networkpolicy"
)

func main() {
	klog.InitFlags(nil)
	kubeconfig := flag.String("kubeconfig", "", "file that says where the API server is and who asks")
	node := flag.String("node", "", "name of the node")
	queue := flag.Int("queue", 100, "number of the queue that packets come from")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	if err := enforce(ctx, *kubeconfig, *node, *queue); err != nil {
		klog.Fatal(err)
	}
}

func enforce(ctx context.Context, kubeconfig, node string, queue int) error {
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		return err
	}
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return err
	}
	factory := informers.NewSharedInformerFactory(client, 0)
	controller, err := networkpolicy.NewController(
		client,
		factory.Networking().V1().NetworkPolicies(),
		factory.Core().V1().Namespaces(),
		factory.Core().V1().Pods(),
		nil, nil, nil, nil, // of AdminNetworkPolicies, which no chart has
		networkpolicy.Config{NodeName: node, QueueID: queue, NRIdisabled: true},
	)
	if err != nil {
		return err
	}
	factory.Start(ctx.Done())
	return controller.Run(ctx)
}
