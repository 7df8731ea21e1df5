{{/* The container of the SkyPilot API server, and its volumes: beside the operator, or in a pod of its own. */}}
{{- define "deepseek-operator.skypilotContainer" -}}
- name: skypilot
  image: {{ include "deepseek-operator.image" (dict "image" .Values.skypilot.image "appVersion" .Chart.AppVersion) }}
  imagePullPolicy: {{ .Values.skypilot.image.pullPolicy }}
  env:
    - {name: SKYPILOT_POD_CPU_CORE_LIMIT, value: {{ .Values.skypilot.cpuLimit | quote }}}
    - {name: SKYPILOT_POD_MEMORY_GB_LIMIT, value: {{ .Values.skypilot.memoryLimitGB | quote }}}
    - {name: SKYPILOT_USER_ID, value: {{ include "deepseek-operator.skypilotUserId" . | quote }}}
    {{- if eq .Values.skypilot.mode "deployment" }}
    - {name: SKYPILOT_SERVER_HOST, value: "0.0.0.0"}
    {{- end }}
    {{- with .Values.skypilot.database.uriSecret }}
    {{- if .name }}
    - name: SKYPILOT_DB_CONNECTION_URI
      valueFrom: {secretKeyRef: {name: {{ .name | quote }}, key: {{ .key | quote }}}}
    {{- end }}
    {{- end }}
    {{- if .Values.skypilot.config }}
    - {name: SKYPILOT_GLOBAL_CONFIG, value: /etc/skypilot/config.yaml}
    {{- end }}
    {{- if .Values.skypilot.gcp.credentialsSecret.name }}
    - {name: GOOGLE_APPLICATION_CREDENTIALS, value: {{ include "deepseek-operator.skypilotGcpFile" . }}}
    {{- end }}
    {{- with .Values.skypilot.extraEnv }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  {{- if eq .Values.skypilot.mode "deployment" }}
  ports:
    - {name: api, containerPort: 46580}
  {{- end }}
  # On loopback, where the kubelet's HTTP probes do not reach.
  startupProbe:
    exec: {command: [curl, -sf, -m, "3", "http://127.0.0.1:46580/api/health"]}
    periodSeconds: 2
    timeoutSeconds: 5
    # Ten minutes: on a busy machine its processes need long to start, and starting again makes the machine busier.
    failureThreshold: 300
  livenessProbe:
    exec: {command: [curl, -sf, -m, "10", "http://127.0.0.1:46580/api/health"]}
    periodSeconds: 30
    timeoutSeconds: 15
    failureThreshold: 6
  resources: {{- toYaml .Values.skypilot.resources | nindent 4 }}
  securityContext: {{- include "deepseek-operator.restricted" . | nindent 4 }}
  volumeMounts:
    - {name: skypilot-home, mountPath: /home/skypilot}
    - {name: skypilot-tmp, mountPath: /tmp}
    {{- include "deepseek-operator.skypilotMounts" . | nindent 4 }}
{{- end -}}

{{- define "deepseek-operator.skypilotVolumes" -}}
- name: skypilot-tmp
  emptyDir: {}
- name: skypilot-home
  {{- if .Values.skypilot.persistence.enabled }}
  persistentVolumeClaim: {claimName: {{ include "deepseek-operator.fullname" . }}-skypilot}
  {{- else }}
  emptyDir: {}
  {{- end }}
{{- if .Values.skypilot.config }}
- name: skypilot-config
  configMap: {name: {{ include "deepseek-operator.skypilotConfigName" . }}}
{{- end }}
{{- with .Values.skypilot.aws.credentialsSecret }}
{{- if .name }}
- name: credentials-aws
  secret: {secretName: {{ .name | quote }}, items: [{key: {{ .key | quote }}, path: credentials}]}
{{- end }}
{{- end }}
{{- with .Values.skypilot.gcp.credentialsSecret }}
{{- if .name }}
- name: credentials-gcp
  secret: {secretName: {{ .name | quote }}, items: [{key: {{ .key | quote }}, path: application_default_credentials.json}]}
{{- end }}
{{- end }}
{{- range $index, $secret := .Values.skypilot.credentialsSecrets }}
- name: credentials-{{ $index }}
  secret: {secretName: {{ $secret.name | quote }}}
{{- end }}
{{- end -}}

{{/* Where SkyPilot looks for the credentials of each cloud, and its configuration. All of it is read-only. */}}
{{- define "deepseek-operator.skypilotMounts" -}}
{{- if .Values.skypilot.config }}
- {name: skypilot-config, mountPath: /etc/skypilot, readOnly: true}
{{- end }}
{{- if .Values.skypilot.aws.credentialsSecret.name }}
- {name: credentials-aws, mountPath: /home/skypilot/.aws, readOnly: true}
{{- end }}
{{- if .Values.skypilot.gcp.credentialsSecret.name }}
- {name: credentials-gcp, mountPath: {{ include "deepseek-operator.skypilotGcpFile" . }}, subPath: application_default_credentials.json, readOnly: true}
{{- end }}
{{- range $index, $secret := .Values.skypilot.credentialsSecrets }}
- {name: credentials-{{ $index }}, mountPath: /home/skypilot/{{ $secret.path }}, readOnly: true}
{{- end }}
{{- end -}}

{{/* One file in a folder that gcloud writes to. */}}
{{- define "deepseek-operator.skypilotGcpFile" -}}
/home/skypilot/.config/gcloud/application_default_credentials.json
{{- end -}}

{{/* SkyPilot's configuration: what the operator counts on, and over it what the administrator wrote. */}}
{{- define "deepseek-operator.skypilotConfig" -}}
{{- $own := dict "api_server" (dict "requests_retention_hours" 2) -}}
{{- mergeOverwrite $own (deepCopy .Values.skypilot.config) | toYaml -}}
{{- end -}}

{{/* The name changes with the contents, so that a change restarts the server. */}}
{{- define "deepseek-operator.skypilotConfigName" -}}
{{- include "deepseek-operator.fullname" . }}-skypilot-{{ include "deepseek-operator.skypilotConfig" . | sha256sum | trunc 8 }}
{{- end -}}
