// The page of Swagger UI: every call described, and tried out from here.
SwaggerUIBundle({
  url: "/openapi.json",
  dom_id: "#swagger-ui",
  deepLinking: true,
  displayRequestDuration: true,
  defaultModelsExpandDepth: 0,
  tryItOutEnabled: true,
  // No badge of a validator on another host.
  validatorUrl: null,
});
