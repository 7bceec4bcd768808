# Inputs that every rule allows, as the compiler writes them.
package trimtab.inputs

edge := {
	"version": 1,
	"subject": {
		"kind": "EdgeAIDeployment",
		"namespace": "fleet",
		"name": "counting",
		"group": "cameras",
	},
	"group": {
		"labels": {
			"region": "EMEA",
			"deviceType": "camera",
		},
		"jurisdiction": "EU",
		"devices": 100,
		"os": "linux",
		"power": "mains",
		"connectivity": "always",
		"owner": "vision",
	},
	"model": {
		"name": "counter",
		"capabilities": [
			"counting",
		],
		"modalities": [],
		"newest": "2026-10-01",
		"newest_day": 20727,
		"unused": [
			{
				"version": "1.0.0",
				"released": "2026-01-10",
				"released_day": 20463,
			},
		],
		"versions": [
			{
				"role": "target",
				"per_1k": {
					"value_pico": 126875000,
					"low_pico": 94340625,
					"high_pico": 164438542,
					"currency": "EUR",
					"text": "127 \u00b5EUR",
				},
				"version": "2.0.0",
				"tier": "standard",
				"format": "onnx",
				"quantization": "none",
				"size": 1000000,
				"signed": true,
				"fairness": null,
				"released": "2026-10-01",
				"released_day": 20727,
				"pipeline": "pipelines/train",
			},
		],
	},
	"tags": {
		"project": "counting",
		"team": "vision",
	},
	"limits": {
		"cpu": {
			"milli": 500,
			"text": "500m",
		},
		"memory": {
			"bytes": 536870912,
			"text": "512Mi",
		},
	},
	"inference": {
		"maximum_per_minute": 60,
	},
	"update": {
		"window": {
			"from": 120,
			"until": 180,
			"text": "02:00-03:00",
		},
	},
	"cost": {
		"monthly": {
			"value_micro": 1642559031,
			"low_micro": 1364956898,
			"high_micro": 1921762417,
			"currency": "EUR",
			"text": "1642.56 EUR",
		},
	},
	"finops": {
		"name": "money",
		"level": "deny",
		"caps": {},
		"required_tags": [],
	},
	"alignment": {
		"name": "people",
		"level": "deny",
		"levels": {},
		"prohibited_models": [],
		"prohibited_capabilities": [],
		"egress": {
			"allowed": false,
			"jurisdictions": [],
		},
	},
}

mobile := {
	"version": 1,
	"subject": {
		"kind": "OnDeviceModel",
		"namespace": "fleet",
		"name": "pocket",
		"group": "phones",
	},
	"group": {
		"labels": {
			"region": "EMEA",
			"deviceType": "phone",
		},
		"jurisdiction": "US",
		"devices": 50,
		"os": "android",
		"power": "mains",
		"connectivity": "always",
		"owner": "mobile",
	},
	"model": {
		"name": "pocket-counter",
		"capabilities": [],
		"modalities": [],
		"versions": [
			{
				"role": "target",
				"per_1k": null,
				"version": "1.0.0",
				"tier": "standard",
				"format": "other",
				"quantization": "none",
				"size": 500000,
				"signed": false,
				"fairness": null,
			},
		],
	},
	"tags": {
		"project": "counting",
		"team": "mobile",
	},
	"cost": {
		"monthly": {
			"value_micro": 500,
			"low_micro": 0,
			"high_micro": 1500,
			"currency": "EUR",
			"text": "0.0005 EUR",
		},
	},
	"finops": {
		"name": "money",
		"level": "deny",
		"caps": {},
		"required_tags": [],
	},
	"alignment": {
		"name": "people",
		"level": "deny",
		"levels": {},
		"prohibited_models": [],
		"prohibited_capabilities": [],
		"egress": {
			"allowed": false,
			"jurisdictions": [],
		},
	},
}

budget := {
	"version": 1,
	"subject": {
		"kind": "FinOpsPolicy",
		"namespace": "fleet",
		"name": "money",
		"group": "",
	},
	"finops": {
		"name": "money",
		"level": "deny",
		"caps": {},
		"required_tags": [],
		"budget": {
			"micro": 1000,
			"currency": "EUR",
			"text": "0.001 EUR",
		},
	},
	"alignment": null,
	"tags": {},
	"cost": {
		"monthly": {
			"value_micro": 900,
			"low_micro": 800,
			"high_micro": 1100,
			"currency": "EUR",
			"text": "0.0009 EUR",
		},
	},
}
