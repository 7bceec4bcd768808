{{- define "trimtab-edge.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 40 | trimSuffix "-" -}}
{{- end -}}

{{- define "trimtab-edge.part" -}}
{{- $base := .Release.Name -}}
{{- if not (contains (include "trimtab-edge.name" .) $base) -}}
{{- $base = printf "%s-%s" $base (include "trimtab-edge.name" .) -}}
{{- end -}}
{{- printf "%s-nodes" ($base | trunc 40 | trimSuffix "-") -}}
{{- end -}}

{{- define "trimtab-edge.selector" -}}
app.kubernetes.io/name: {{ include "trimtab-edge.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: nodes
{{- end -}}

{{- define "trimtab-edge.labels" -}}
{{ include "trimtab-edge.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- with .Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- define "trimtab-edge.image" -}}
{{- if .Values.image.digest -}}
{{ .Values.image.repository }}@{{ .Values.image.digest }}
{{- else -}}
{{ .Values.image.repository }}:{{ default .Chart.AppVersion .Values.image.tag }}
{{- end -}}
{{- end -}}
