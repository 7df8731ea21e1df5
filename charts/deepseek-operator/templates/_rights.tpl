{{/* What the operator may do where deployments are. docs/security.md says which test uses each right. */}}
{{- define "deepseek-operator.operatorRules" -}}
- {apiGroups: [deepseek-operator.io], resources: [deepseekdeployments], verbs: [list, watch, patch]}
- {apiGroups: [deepseek-operator.io], resources: [deepseekdeployments/status], verbs: [patch]}
- {apiGroups: [deepseek-operator.io], resources: [deepseekdeployments/finalizers], verbs: [update]}
- {apiGroups: [""], resources: [services], verbs: [get, list, watch, create, patch, delete]}
- {apiGroups: [discovery.k8s.io], resources: [endpointslices], verbs: [list, watch, create, patch, delete]}
- {apiGroups: [discovery.k8s.io], resources: [endpointslices/restricted], verbs: [create]}
- {apiGroups: [""], resources: [serviceaccounts], verbs: [get, create]}
- {apiGroups: [""], resources: [pods], verbs: [list, watch, delete]}
# Whether those that specs refer to exist; and the API key and certificate authority of deployments on rented machines.
- {apiGroups: [""], resources: [secrets], verbs: [get, create]}
# The proxy in front of rented machines: its pods, its configuration, and how many of them may be away at once.
- {apiGroups: [apps], resources: [deployments], verbs: [get, create, patch, delete]}
- {apiGroups: [""], resources: [configmaps], verbs: [get, create, patch, delete]}
- {apiGroups: [policy], resources: [poddisruptionbudgets], verbs: [get, create, patch, delete]}
- {apiGroups: [events.k8s.io], resources: [events], verbs: [create]}
{{- end -}}

{{/* What SkyPilot may do where deployments are: it launches the pods and sets them up with exec. */}}
{{- define "deepseek-operator.skypilotRules" -}}
- {apiGroups: [""], resources: [pods], verbs: [get, list, create, delete]}
- {apiGroups: [""], resources: [pods/exec], verbs: [get, create]}
- {apiGroups: [""], resources: [services], verbs: [list, create, delete, deletecollection]}
- {apiGroups: [""], resources: [events], verbs: [list]}
{{- end -}}

{{/* What SkyPilot reads of the whole cluster: which nodes there are. */}}
{{- define "deepseek-operator.skypilotClusterRules" -}}
- {apiGroups: [""], resources: [nodes], verbs: [list]}
- {apiGroups: [node.k8s.io], resources: [runtimeclasses], verbs: [list]}
{{- end -}}

{{/* Rights of an account of this release in the whole cluster. Takes root, name and rules. */}}
{{- define "deepseek-operator.inCluster" -}}
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata:
  name: {{ .name }}-cluster
  labels: {{- include "deepseek-operator.labels" .root | nindent 4 }}
rules: {{- .rules | nindent 2 }}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata:
  name: {{ .name }}-cluster
  labels: {{- include "deepseek-operator.labels" .root | nindent 4 }}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: {{ .name }}-cluster}
subjects:
  - {kind: ServiceAccount, name: {{ .name }}, namespace: {{ .root.Release.Namespace | quote }}}
{{- end -}}

{{/* Rights of an account where deployments are: in all namespaces, or in those of watchNamespaces. */}}
{{- define "deepseek-operator.inNamespaces" -}}
{{- $clusterRoles := .root.Values.rbac.clusterRoles -}}
{{- $root := .root -}}
{{- $name := .name -}}
{{- $rules := .rules -}}
{{- if $clusterRoles -}}
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata:
  name: {{ $name }}-namespaced
  labels: {{- include "deepseek-operator.labels" $root | nindent 4 }}
rules: {{- $rules | nindent 2 }}
{{- end }}
{{- range $namespace := $root.Values.watchNamespaces }}
{{- if not $clusterRoles }}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata:
  name: {{ $name }}
  namespace: {{ $namespace | quote }}
  labels: {{- include "deepseek-operator.labels" $root | nindent 4 }}
rules: {{- $rules | nindent 2 }}
{{- end }}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata:
  # What a binding refers to cannot be changed, so the other way has another name.
  name: {{ ternary $name (printf "%s-role" $name) $clusterRoles }}
  namespace: {{ $namespace | quote }}
  labels: {{- include "deepseek-operator.labels" $root | nindent 4 }}
roleRef:
  apiGroup: rbac.authorization.k8s.io
  kind: {{ ternary "ClusterRole" "Role" $clusterRoles }}
  name: {{ ternary (printf "%s-namespaced" $name) $name $clusterRoles }}
subjects:
  - {kind: ServiceAccount, name: {{ $name }}, namespace: {{ $root.Release.Namespace | quote }}}
{{- else }}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata:
  name: {{ $name }}-namespaced
  labels: {{- include "deepseek-operator.labels" $root | nindent 4 }}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: {{ $name }}-namespaced}
subjects:
  - {kind: ServiceAccount, name: {{ $name }}, namespace: {{ $root.Release.Namespace | quote }}}
{{- end }}
{{- end -}}
