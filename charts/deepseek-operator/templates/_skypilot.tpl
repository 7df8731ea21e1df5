{{/* The container of the SkyPilot API server, and its volumes: beside the operator, or in a pod of its own. */}}
{{- define "deepseek-operator.skypilotContainer" -}}
- name: skypilot
  image: {{ include "deepseek-operator.image" (dict "image" .Values.skypilot.image "appVersion" .Chart.AppVersion) }}
  imagePullPolicy: {{ .Values.skypilot.image.pullPolicy }}
  env:
    - {name: SKYPILOT_POD_CPU_CORE_LIMIT, value: {{ .Values.skypilot.cpuLimit | quote }}}
    - {name: SKYPILOT_POD_MEMORY_GB_LIMIT, value: {{ .Values.skypilot.memoryLimitGB | quote }}}
    - {name: SKYPILOT_USER_ID, value: {{ include "deepseek-operator.skypilotUserId" . }}}
    {{- if eq .Values.skypilot.mode "deployment" }}
    - {name: SKYPILOT_SERVER_HOST, value: "0.0.0.0"}
    {{- end }}
    {{- with .Values.skypilot.database.uriSecret }}
    {{- if .name }}
    - name: SKYPILOT_DB_CONNECTION_URI
      valueFrom: {secretKeyRef: {name: {{ .name }}, key: {{ .key }}}}
    {{- end }}
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
    failureThreshold: 90
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
{{- end -}}
