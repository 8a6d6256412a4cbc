// ESLint for web/ and tests/web. CommonJS, because its require() finds packages that NODE_PATH names: `make web` keeps
// them outside the checkout.

const js = require("@eslint/js");
const globals = require("globals");

module.exports = [
    js.configs.recommended,
    {
        languageOptions: { ecmaVersion: 2023, sourceType: "module" },
        linterOptions: { reportUnusedDisableDirectives: "error" },
        rules: {
            eqeqeq: ["error", "always", { null: "ignore" }],
            "max-len": ["error", { code: 120, ignoreTemplateLiterals: true }],
            "no-shadow": "error",
            "no-var": "error",
            "object-shorthand": "error",
            "prefer-const": "error",
        },
    },
    { files: ["web/**/*.js"], languageOptions: { globals: globals.browser } },
    { files: ["tests/web/**/*.js"], languageOptions: { globals: globals.nodeBuiltin } },
    { files: ["**/*.cjs"], languageOptions: { globals: globals.node, sourceType: "commonjs" } },
];
