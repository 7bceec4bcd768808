{{- define "trimtab.repoServerPatch" -}}
{{- $own := .Values.argocd -}}
{{- $name := include "trimtab.part" (list . "cmp") -}}
spec:
  template:
    metadata:
      annotations:
        # plugin.yaml is read at the start of the pod, so a change of it must start a new one.
        checksum/trimtab-plugin: {{ .Files.Get "files/plugin.yaml" | sha256sum }}
    spec:
      containers:
        - name: argocd-repo-server
          env:
            - {name: ARGOCD_CMP_CHUNK_SIZE, value: {{ $own.chunkSize | int | quote }}}
            - {name: ARGOCD_REPO_SERVER_PLUGIN_TAR_EXCLUSIONS, value: {{ $own.tarExclusions | quote }}}
        - name: trimtab
          image: {{ include "trimtab.image" . }}
          imagePullPolicy: {{ .Values.image.pullPolicy }}
          {{- if eq $own.mode "native" }}
          args:
            - cmp-server
            - --config-dir=/home/argocd/cmp-server/config
            - --socket-dir=/home/argocd/cmp-server/plugins
            - --threads={{ $own.threads }}
            - --metrics-host=0.0.0.0
            - --metrics-port={{ $own.metricsPort }}
          ports:
            - {name: trimtab-metrics, containerPort: {{ $own.metricsPort }}, protocol: TCP}
          livenessProbe:
            httpGet: {path: /healthz, port: trimtab-metrics}
            initialDelaySeconds: 10
            periodSeconds: 20
            failureThreshold: 6
          {{- else }}
          command: [/var/run/argocd/argocd-cmp-server]
          {{- end }}
          resources: {{- toYaml $own.resources | nindent 12 }}
          securityContext:
            runAsNonRoot: true
            runAsUser: 999 # as repo-server: the socket is for its user alone
            allowPrivilegeEscalation: false
            readOnlyRootFilesystem: true
            capabilities: {drop: [ALL]}
            seccompProfile: {type: RuntimeDefault}
          volumeMounts:
            {{- if eq $own.mode "exec" }}
            - {name: var-files, mountPath: /var/run/argocd}
            {{- end }}
            - {name: plugins, mountPath: /home/argocd/cmp-server/plugins}
            - {name: trimtab-plugin, mountPath: /home/argocd/cmp-server/config/plugin.yaml, subPath: plugin.yaml}
            - {name: trimtab-scratch, mountPath: /tmp}
      volumes:
        - {name: trimtab-plugin, configMap: {name: {{ $name }}}}
        # Of its own: another plugin's checkouts are nobody else's business.
        - {name: trimtab-scratch, emptyDir: {}}
{{- end -}}
