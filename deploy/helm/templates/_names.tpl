{{/* The release, and "cliffwatch" once. */}}
{{- define "cliffwatch.name" -}}
{{ if contains "cliffwatch" .Release.Name }}{{ .Release.Name | trunc 40 | trimSuffix "-" }}{{ else }}{{ printf "%s-cliffwatch" (.Release.Name | trunc 29 | trimSuffix "-") }}{{ end }}
{{- end }}

{{- define "cliffwatch.selector" -}}
app.kubernetes.io/name: cliffwatch
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "cliffwatch.labels" -}}
{{ include "cliffwatch.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end }}

{{/* What the chart sets, and over it what you set. */}}
{{- define "cliffwatch.config" -}}
{{- $own := dict
  "log" (dict "format" "json")
  "web" (dict "listen_address" ":9464")
  "kafka" (dict "bootstrap_servers" .Values.kafka.bootstrapServers)
  "ledger" (dict "url_file" "/etc/cliffwatch/ledger/url") -}}
{{ mergeOverwrite $own (deepCopy .Values.config) | toYaml }}
{{- end }}
