{{- define "deepseek-operator.fullname" -}}
{{- $name := .Release.Name -}}
{{- if not (contains .Chart.Name .Release.Name) -}}
{{- $name = printf "%s-%s" .Release.Name .Chart.Name -}}
{{- end -}}
{{- regexReplaceAll "[-.]+$" (trunc 50 $name) "" -}}
{{- end -}}

{{/* The same for a Service, whose name begins with a letter and has no dot. */}}
{{- define "deepseek-operator.serviceName" -}}
{{- regexReplaceAll "^([0-9])" (include "deepseek-operator.fullname" . | replace "." "-") "r${1}" -}}
{{- end -}}

{{- define "deepseek-operator.selectorLabels" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name | quote }}
{{- end -}}

{{- define "deepseek-operator.labels" -}}
{{ include "deepseek-operator.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end -}}

{{/* The same with labels of the company, which may replace some. Takes root and labels. */}}
{{- define "deepseek-operator.labelsAnd" -}}
{{- mergeOverwrite (include "deepseek-operator.labels" .root | fromYaml) (.labels | default dict) | toYaml -}}
{{- end -}}

{{- define "deepseek-operator.image" -}}
{{- if .image.digest -}}
{{- printf "%s@%s" .image.repository .image.digest -}}
{{- else -}}
{{- printf "%s:%s" .image.repository (.image.tag | default .appVersion) -}}
{{- end -}}
{{- end -}}

{{/* The same release in the same namespace always has the same id, also after it was uninstalled and installed again. */}}
{{- define "deepseek-operator.skypilotUserId" -}}
{{- .Values.skypilot.userId | default (printf "%s/%s" .Release.Namespace .Release.Name | sha256sum | trunc 8) -}}
{{- end -}}

{{- define "deepseek-operator.restricted" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end -}}

{{- define "deepseek-operator.podSecurityContext" -}}
runAsNonRoot: true
{{- range $name, $id := .Values.podSecurityContext }}
{{- if not (kindIs "invalid" $id) }}
{{ $name }}: {{ int64 $id }}
{{- end }}
{{- end }}
seccompProfile: {type: RuntimeDefault}
{{- end -}}

{{/* What the operator is told of the pods of proxies, as JSON. */}}
{{- define "deepseek-operator.proxyPod" -}}
{{- $ids := dict -}}
{{- range $name, $id := omit (.Values.podSecurityContext | default dict) "fsGroup" -}}
{{- if not (kindIs "invalid" $id) -}}
{{- $_ := set $ids $name (int64 $id) -}}
{{- end -}}
{{- end -}}
{{- $pod := dict "securityContext" $ids "resources" (.Values.proxy.resources | default dict) -}}
{{- range $name := list "imagePullSecrets" "nodeSelector" "tolerations" "affinity" "priorityClassName" -}}
{{- with get $.Values.proxy $name -}}
{{- $_ := set $pod $name . -}}
{{- end -}}
{{- end -}}
{{- with .Values.proxy.podLabels -}}
{{- $_ := set $pod "labels" . -}}
{{- end -}}
{{- with .Values.proxy.podAnnotations -}}
{{- $_ := set $pod "annotations" . -}}
{{- end -}}
{{- toJson $pod -}}
{{- end -}}

{{/* Where a pod runs: the same for the operator and for SkyPilot. */}}
{{- define "deepseek-operator.placement" -}}
{{- with .Values.nodeSelector }}
nodeSelector: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.tolerations }}
tolerations: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.affinity }}
affinity: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.priorityClassName }}
priorityClassName: {{ . | quote }}
{{- end }}
{{- end -}}

{{- define "deepseek-operator.skypilotLabels" -}}
app.kubernetes.io/name: {{ .Chart.Name }}-skypilot
app.kubernetes.io/instance: {{ .Release.Name | quote }}
{{- end -}}

{{/* Values that only together make sense. Helm prints the sentence. */}}
{{- define "deepseek-operator.check" -}}
{{- if and (not .Values.rbac.clusterRoles) (not .Values.watchNamespaces) -}}
{{- fail "rbac.clusterRoles is false: watchNamespaces must name the namespaces in which the operator gets Roles" -}}
{{- end -}}
{{- if and (gt (int .Values.operator.replicas) 1) (eq .Values.skypilot.mode "sidecar") -}}
{{- fail "operator.replicas: more than one needs skypilot.mode deployment or external, because SkyPilot beside each operator would have a database of its own" -}}
{{- end -}}
{{- if and (eq .Values.skypilot.mode "external") (not .Values.skypilot.external.endpoint) -}}
{{- fail "skypilot.mode is external: skypilot.external.endpoint must be the URL of that SkyPilot API server" -}}
{{- end -}}
{{- if ne .Values.skypilot.mode "external" -}}
{{- with .Values.skypilot.external -}}
{{- range $name, $value := dict "endpoint" .endpoint "tokenSecret" .tokenSecret.name "kubernetesContext" .kubernetesContext -}}
{{- if $value -}}
{{- fail (printf "skypilot.external.%s is set, but skypilot.mode is %s: it must be external" $name $.Values.skypilot.mode) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- with .Values.skypilot.external -}}
{{- if and (or .ca.configMapName .ca.secretName) (not (hasPrefix "https://" .endpoint)) -}}
{{- fail "skypilot.external.ca is that of a server with https://, which skypilot.external.endpoint does not begin with" -}}
{{- end -}}
{{- if and .ca.configMapName .ca.secretName -}}
{{- fail "skypilot.external.ca: configMapName and secretName exclude each other" -}}
{{- end -}}
{{- end -}}
{{- if eq .Values.skypilot.mode "external" -}}
{{- with .Values.skypilot -}}
{{- $own := dict "database" .database.uriSecret.name "aws" .aws.credentialsSecret.name "gcp" .gcp.credentialsSecret.name -}}
{{- range $name, $value := merge $own (pick . "credentialsSecrets" "config" "extraEnv") -}}
{{- if $value -}}
{{- fail (printf "skypilot.%s is that of a SkyPilot API server that this chart runs, and skypilot.mode is external" $name) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- $set := include "deepseek-operator.skypilotVariables" . | fromYaml -}}
{{- range $value, $variables := dict "skypilot.extraEnv" .Values.skypilot.extraEnv "tracing.env" .Values.tracing.env -}}
{{- $names := dict -}}
{{- range $variables -}}
{{- if hasKey $names .name -}}
{{- fail (printf "%s sets %s twice" $value .name) -}}
{{- end -}}
{{- $_ := set $names .name true -}}
{{- end -}}
{{- end -}}
{{- $gcp := include "deepseek-operator.skypilotGcpFile" . | trimPrefix "/home/skypilot/" -}}
{{- $taken := dict ".sky" "what the server writes there" ".ssh" "what the server writes there" -}}
{{- if .Values.skypilot.aws.credentialsSecret.name -}}
{{- $_ := set $taken ".aws" "skypilot.aws.credentialsSecret" -}}
{{- end -}}
{{- if .Values.skypilot.gcp.credentialsSecret.name -}}
{{- $_ := set $taken $gcp "skypilot.gcp.credentialsSecret" -}}
{{- end -}}
{{- range $secret := .Values.skypilot.credentialsSecrets -}}
{{- range $path, $whose := $taken -}}
{{- if or (hasPrefix (printf "%s/" $path) (printf "%s/" $secret.path)) (hasPrefix (printf "%s/" $secret.path) (printf "%s/" $path)) -}}
{{- fail (printf "skypilot.credentialsSecrets: %s is in the way of %s" $secret.path $whose) -}}
{{- end -}}
{{- end -}}
{{- $_ := set $taken $secret.path "another one" -}}
{{- end -}}
{{- range $variable := .Values.skypilot.extraEnv -}}
{{- with get $set $variable.name -}}
{{- fail (printf "skypilot.extraEnv must not set %s: %s does" $variable.name .) -}}
{{- end -}}
{{- end -}}
{{- range $value, $labels := dict "podLabels" .Values.podLabels "proxy.podLabels" .Values.proxy.podLabels -}}
{{- range $label, $_ := $labels -}}
{{- if regexMatch "^(app\\.kubernetes\\.io|helm\\.sh|deepseek-operator\\.io)/" $label -}}
{{- fail (printf "%s must not set %s, by which pods are known" $value $label) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- range .Values.tracing.env -}}
{{- if eq .name "OTEL_EXPORTER_OTLP_ENDPOINT" -}}
{{- fail "tracing.env must not set OTEL_EXPORTER_OTLP_ENDPOINT: tracing.endpoint does" -}}
{{- end -}}
{{- if hasPrefix "DEEPSEEK_OPERATOR_" .name -}}
{{- fail (printf "tracing.env must not set %s, which is not one of OpenTelemetry's; operator.extraArgs takes the flag" .name) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* The variables of SkyPilot's container that the chart sets itself or counts on, and the value that each comes from. */}}
{{- define "deepseek-operator.skypilotVariables" -}}
SKYPILOT_POD_CPU_CORE_LIMIT: skypilot.cpuLimit
SKYPILOT_POD_MEMORY_GB_LIMIT: skypilot.memoryLimitGB
SKYPILOT_USER_ID: skypilot.userId
SKYPILOT_SERVER_HOST: skypilot.mode
SKYPILOT_SERVER_PORT: skypilot.mode
{{- if .Values.skypilot.database.uriSecret.name }}
SKYPILOT_DB_CONNECTION_URI: skypilot.database.uriSecret
{{- end }}
{{- if .Values.skypilot.config }}
SKYPILOT_GLOBAL_CONFIG: skypilot.config
{{- end }}
{{- if .Values.skypilot.gcp.credentialsSecret.name }}
GOOGLE_APPLICATION_CREDENTIALS: skypilot.gcp.credentialsSecret
{{- end }}
{{- end -}}
